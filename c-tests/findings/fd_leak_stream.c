// 100 streams, opened by MAKE, that are never closed. With -DFIXED each is closed by END.
#include "finding.h"
#include <dirent.h>

int main(void)
{
    for (int i = 0; i < 100; i++) {
        void *made = MAKE; /* HERE */
        must(made != NULL, "made");
#ifdef FIXED
        END(made);
#endif
    }
    return found(-1, -1);
}
