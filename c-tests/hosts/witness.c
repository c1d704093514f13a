/* A library that stands right behind the shim in the order of search: what it finds next, the shim finds too. */
#define _GNU_SOURCE
#include <dlfcn.h>

void *witness_next(const char *name);
void *witness_next(const char *name) { return dlsym(RTLD_NEXT, name); }
