/* Compares each function that the library has looked up with what dlsym(RTLD_NEXT) finds after it.
 * The argument is a file with one place per line, in hexadecimal, of the library's records of
 * functions (`Real` of src/real.rs): an address, a name, and the function that replaces a missing
 * one. */
#include "../check.h"
#include <link.h>
#include <stdlib.h>
#include <sys/mman.h>

struct real {
    void *address;
    const char *name;
    void *fallback;
};

static int shim_base(struct dl_phdr_info *info, size_t size, void *base) {
    (void)size;
    if (strstr(info->dlpi_name, "/libepollshim.so") == NULL) return 0;
    *(uintptr_t *)base = info->dlpi_addr;
    return 1;
}

static void *volatile kept;

/* Functions that are hooked only on request are looked up if a rule names them and an object calls
 * them. */
static void call_what_is_hooked_on_request(void) {
    void *aligned = NULL;
    kept = malloc(1);
    kept = calloc(1, 1);
    kept = realloc(kept, 2);
    if (posix_memalign(&aligned, 64, 64) == 0) kept = aligned;
    kept = aligned_alloc(64, 64);
    kept = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

int main(int count, char **arguments) {
    uintptr_t base = 0;
    call_what_is_hooked_on_request();
    dl_iterate_phdr(shim_base, &base);
    void *(*witness_next)(const char *) = (void *(*)(const char *))(uintptr_t)dlsym(RTLD_DEFAULT, "witness_next");
    FILE *places = count == 2 ? fopen(arguments[1], "r") : NULL;
    if (base == 0 || witness_next == NULL || places == NULL) return 2;
    unsigned long place;
    int compared = 0, interposed = 0;
    while (fscanf(places, "%lx", &place) == 1) {
        const struct real *real = (const struct real *)(base + place);
        void *expected = witness_next(real->name);
        if (expected == NULL) expected = real->fallback;
        if (real->address != expected) {
            checks_failed = 1;
            say("FAIL %s: expected %p, got %p\n", real->name, expected, real->address);
        }
        Dl_info info;
        compared++;
        interposed += dladdr(real->address, &info) != 0 && strstr(info.dli_fname, "libc.so.6") == NULL;
    }
    say("%d compared, %d of them not libc's\n", compared, interposed);
    return verdict();
}
