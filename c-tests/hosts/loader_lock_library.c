/* A library whose constructor calls back into the program that opens it (loader_lock.c). */
void constructor_waits(void);

__attribute__((constructor)) static void construct(void) { constructor_waits(); }
