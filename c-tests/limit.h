/* What the programs about limits need besides check.h: the kernel's state of this process, before
 * and after a call that must not have been made. */
#ifndef LIMIT_H
#define LIMIT_H
#include "check.h"

/* The number of interests of an instance, from its `tfd` lines; -1: not readable. */
__attribute__((unused)) static int watches_of(int epfd) {
    char path[64], text[16384];
    int lines = 0;
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", epfd);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    /* By read(2) alone, so that handlers and children of vfork may call it. */
    size_t kept = 0;
    for (ssize_t got; (got = read(fd, text + kept, sizeof text - kept)) > 0;) {
        size_t end = kept + (size_t)got, start = 0;
        for (size_t at = kept; at < end; at++) {
            if (text[at] != '\n') continue;
            lines += memcmp(text + start, "tfd:", 4) == 0;
            start = at + 1;
        }
        memmove(text, text + start, end - start);
        kept = end - start;
    }
    close(fd);
    return lines;
}

/* The number of open descriptors. */
__attribute__((unused)) static int descriptors_open(void) {
    DIR *directory = opendir("/proc/self/fd");
    int count = 0;
    while (directory != NULL && readdir(directory) != NULL) count++;
    if (directory != NULL) closedir(directory);
    return count;
}

/* What a refused call must leave unchanged. */
struct kept {
    int instances, watches, descriptors, next;
};

__attribute__((unused)) static struct kept kept_now(void) {
    struct truth truth = kernel_truth();
    struct kept kept = {truth.instances, truth.watches, descriptors_open(), dup(0)};
    close(kept.next);
    return kept;
}

/* The call was refused with this errno, and nothing has changed in the kernel. */
#define REFUSED(call, error)                                                                             \
    do {                                                                                                 \
        struct kept before_ = kept_now();                                                                \
        FAILS(call, error);                                                                              \
        struct kept after_ = kept_now();                                                                 \
        if (memcmp(&before_, &after_, sizeof before_) != 0) check_that(0, #call " changes nothing", __LINE__); \
    } while (0)

typedef int (*limit_setter)(const char *limits);
typedef const char *(*error_text)(void);

__attribute__((unused)) static int set_limits(const char *limits) {
    limit_setter set = (limit_setter)(uintptr_t)dlsym(RTLD_DEFAULT, "epollshim_limit");
    if (set == NULL) return errno = ENOSYS, -1;
    return set(limits);
}

__attribute__((unused)) static const char *why(void) {
    error_text text = (error_text)(uintptr_t)dlsym(RTLD_DEFAULT, "epollshim_error");
    return text == NULL ? "no shim" : text();
}

/* How many instances can be created now. They are closed again. */
__attribute__((unused)) static int instances_to_be_had(void) {
    int made[256], count = 0, error;
    while (count < 256 && (made[count] = epoll_create1(EPOLL_CLOEXEC)) >= 0) count++;
    error = errno;
    for (int i = 0; i < count; i++) close(made[i]);
    errno = error;
    return count;
}

/* How many interests can be added to an instance now. They are deleted again. */
__attribute__((unused)) static int watches_to_be_had(int epfd) {
    int made[256], count = 0, error = 0;
    for (; count < 256; count++) {
        made[count] = eventfd(0, EFD_CLOEXEC);
        if (made[count] < 0 || add(epfd, made[count], EPOLLIN) != 0) {
            error = errno;
            close(made[count]);
            break;
        }
    }
    for (int i = 0; i < count; i++) {
        epoll_ctl(epfd, EPOLL_CTL_DEL, made[i], NULL);
        close(made[i]);
    }
    errno = error;
    return count;
}
#endif
