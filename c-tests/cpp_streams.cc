// C++ streams that are never closed. A line of this program opened each, although the library
// calls fopen.
#include <fstream>
#include <vector>

__attribute__((noinline)) static std::ifstream *open_one() {
    return new std::ifstream("/dev/null"); /* constructor */
}

__attribute__((noinline)) static void open_again(std::fstream &stream) {
    stream.open("/dev/null", std::ios::in); /* open */
}

int main() {
    auto *all = new std::vector<void *>;
    for (int i = 0; i < 100; i++) {
        all->push_back(open_one());
        auto *stream = new std::fstream;
        open_again(*stream);
        all->push_back(stream);
        std::ofstream closed("/dev/null");
        closed.close();
    }
    return 0;
}
