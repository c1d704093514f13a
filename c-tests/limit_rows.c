/* limit_rows ROW: a row of the table of limits (docs, section 5): which call is refused, with which
 * errno, that it changes nothing, and what is not refused. The limits come from the environment;
 * the test sets those of each row. */
#include "limit.h"

static int scratch_file(void) {
    char path[] = "/tmp/epollshim-limit-XXXXXX";
    int fd = mkstemp(path);
    unlink(path);
    return fd;
}

/* Every call that creates an instance is refused with `error`. */
static void no_creation(int error) {
    REFUSED(epoll_create(1), error);
    REFUSED(epoll_create1(0), error);
    REFUSED(epoll_create1(EPOLL_CLOEXEC), error);
#ifdef SYS_epoll_create
    REFUSED(syscall(SYS_epoll_create, 8), error);
#endif
    REFUSED(syscall(SYS_epoll_create1, 0), error);
}

static void creations_of_the_kernels_own_mind(void) {
    REFUSED(epoll_create(0), EINVAL);
    REFUSED(epoll_create(-3), EINVAL);
    REFUSED(epoll_create1(1), EINVAL);
    REFUSED(syscall(SYS_epoll_create1, 77), EINVAL);
}

/* instances=3, or user-instances=3. */
static void instances(void) {
    creations_of_the_kernels_own_mind();
    int first = WORKS(epoll_create(5)), second = WORKS(epoll_create1(EPOLL_CLOEXEC));
    int third = WORKS(syscall(SYS_epoll_create1, 0));
    no_creation(EMFILE);
    creations_of_the_kernels_own_mind();
    /* An instance has descriptors but is none. */
    int again = WORKS(dup(first));
    GIVES(close(first), 0);
    no_creation(EMFILE);
    GIVES(close(again), 0);
    int fourth = WORKS(epoll_create1(0));
    no_creation(EMFILE);
    GIVES(dup2(0, second), second);
    GIVES(close(second), 0);
    second = WORKS(epoll_create(1));
    no_creation(EMFILE);
    GIVES(syscall(SYS_close, third), 0);
    /* If the kernel has no descriptor left, the call uses up nothing. */
    struct rlimit before, tight;
    getrlimit(RLIMIT_NOFILE, &before);
    tight = before;
    tight.rlim_cur = (rlim_t)third;
    setrlimit(RLIMIT_NOFILE, &tight);
    for (int i = 0; i < 5; i++) FAILS(epoll_create1(0), EMFILE);
    setrlimit(RLIMIT_NOFILE, &before);
    third = WORKS(epoll_create1(0));
    no_creation(EMFILE);
    /* Other operations on instances are not limited. */
    int fd = eventfd(1, 0);
    GIVES(add(third, fd, EPOLLIN), 0);
    EQUAL(events_of(third, 0), EPOLLIN);
    GIVES(close(second), 0);
    GIVES(close(third), 0);
    GIVES(close(fourth), 0);
    EQUAL(instances_to_be_had(), 3);
    EQUAL(errno, EMFILE);
}

/* instances=0. */
static void none(void) {
    no_creation(EMFILE);
    creations_of_the_kernels_own_mind();
}

/* What the kernel refuses for another reason, at a limit of interests. `watched` is already in
 * `epfd`, and `inner` is another instance. */
static void additions_of_the_kernels_own_mind(int epfd, int watched, int inner) {
    struct epoll_event event = interest(EPOLLIN, 1), exclusive = interest(EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT, 1);
    struct epoll_event nested = interest(EPOLLIN | EPOLLEXCLUSIVE, 1);
    int file = scratch_file(), fd = eventfd(0, 0);
    REFUSED(epoll_ctl(epfd, EPOLL_CTL_ADD, watched, &event), EEXIST);
    REFUSED(epoll_ctl(epfd, EPOLL_CTL_ADD, 9999, &event), EBADF);
    REFUSED(epoll_ctl(9999, EPOLL_CTL_ADD, fd, &event), EBADF);
    REFUSED(epoll_ctl(-1, EPOLL_CTL_ADD, fd, &event), EBADF);
    REFUSED(epoll_ctl(epfd, EPOLL_CTL_ADD, file, &event), EPERM);
    REFUSED(epoll_ctl(epfd, EPOLL_CTL_ADD, epfd, &event), EINVAL);
    REFUSED(epoll_ctl(fd, EPOLL_CTL_ADD, watched, &event), EINVAL);
    REFUSED(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, nowhere()), EFAULT);
    REFUSED(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, NULL), EFAULT);
    REFUSED(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &exclusive), EINVAL);
    REFUSED(epoll_ctl(epfd, EPOLL_CTL_ADD, inner, &nested), EINVAL);
    REFUSED(epoll_ctl(epfd, 99, fd, &event), EINVAL);
    REFUSED(syscall(SYS_epoll_ctl, epfd, EPOLL_CTL_ADD, file, &event), EPERM);
    REFUSED(epoll_ctl(epfd, EPOLL_CTL_MOD, fd, &event), ENOENT);
    REFUSED(epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL), ENOENT);
    close(file), close(fd);
}

static void no_addition(int epfd, int fd, int error) {
    struct epoll_event event = interest(EPOLLIN, 7);
    REFUSED(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event), error);
    REFUSED(syscall(SYS_epoll_ctl, epfd, EPOLL_CTL_ADD, fd, &event), error);
}

static int event_fds[16];

static void make_event_fds(void) {
    for (int i = 0; i < 16; i++) event_fds[i] = eventfd(1, EFD_CLOEXEC);
}

/* watches=3, or user-watches=3: of all instances together. */
static void watches(void) {
    int *f = event_fds, one = epoll_create1(0), other = epoll_create(9);
    struct epoll_event event = interest(EPOLLOUT, 3);
    make_event_fds();
    GIVES(add(one, f[0], EPOLLIN), 0);
    GIVES(add(other, f[0], EPOLLIN), 0);
    GIVES(add(one, f[1], EPOLLIN), 0);
    no_addition(one, f[2], ENOSPC);
    no_addition(other, f[2], ENOSPC);
    additions_of_the_kernels_own_mind(one, f[0], other);
    additions_of_the_kernels_own_mind(other, f[0], one);
    GIVES(epoll_ctl(one, EPOLL_CTL_MOD, f[1], &event), 0);
    GIVES(epoll_ctl(other, EPOLL_CTL_DEL, f[0], NULL), 0);
    GIVES(add(other, f[2], EPOLLIN), 0);
    no_addition(other, f[3], ENOSPC);
    /* An interest outlives the number with which it was added. */
    int copy = dup(f[2]);
    GIVES(close(f[2]), 0);
    no_addition(other, f[3], ENOSPC);
    GIVES(close(copy), 0);
    GIVES(add(other, f[3], EPOLLIN), 0);
    no_addition(one, f[4], ENOSPC);
    /* It ends with its instance. */
    GIVES(close(other), 0);
    GIVES(add(one, f[4], EPOLLIN), 0);
    no_addition(one, f[5], ENOSPC);
    for (int i = 0; i < 6; i++) close(f[i]);
    EQUAL(watches_of(one), 0);
    EQUAL(watches_to_be_had(one), 3);
    EQUAL(errno, ENOSPC);
}

/* instance-watches=2: for each instance separately. */
static void instance_watches(void) {
    int *f = event_fds, one = epoll_create1(0), other = epoll_create1(0);
    make_event_fds();
    for (int i = 0; i < 2; i++) GIVES(add(one, f[i], EPOLLIN), 0);
    no_addition(one, f[2], ENOSPC);
    additions_of_the_kernels_own_mind(one, f[0], other);
    for (int i = 0; i < 2; i++) GIVES(add(other, f[i], EPOLLIN), 0);
    no_addition(other, f[2], ENOSPC);
    int copy = dup(one);
    no_addition(copy, f[2], ENOSPC);
    GIVES(epoll_ctl(copy, EPOLL_CTL_DEL, f[0], NULL), 0);
    GIVES(add(one, f[2], EPOLLIN), 0);
    no_addition(one, f[3], ENOSPC);
    close(one), close(copy), close(other);
    /* A new instance with the number of an old one starts at zero. */
    one = epoll_create1(0);
    EQUAL(watches_to_be_had(one), 2);
}

/* memory=1600: two instances of 704 bytes and one interest of 192. */
static void memory(void) {
    int *f = event_fds, one = WORKS(epoll_create1(0)), other = WORKS(epoll_create(2));
    make_event_fds();
    no_creation(ENOMEM);
    creations_of_the_kernels_own_mind();
    GIVES(add(one, f[0], EPOLLIN), 0);
    no_addition(one, f[1], ENOMEM);
    no_addition(other, f[1], ENOMEM);
    no_creation(ENOMEM);
    GIVES(close(other), 0);
    for (int i = 1; i < 4; i++) GIVES(add(one, f[i], EPOLLIN), 0);
    /* 704 + 4 * 192 = 1472: neither fits. */
    no_addition(one, f[4], ENOMEM);
    no_creation(ENOMEM);
    GIVES(epoll_ctl(one, EPOLL_CTL_DEL, f[0], NULL), 0);
    GIVES(add(one, f[4], EPOLLIN), 0);
    GIVES(close(one), 0);
    EQUAL(instances_to_be_had(), 2);
    one = epoll_create1(0);
    EQUAL(watches_to_be_had(one), 4);
}

/* size=...: `promises` is the result of an ADD beyond the size that was passed to epoll_create. */
static void size(int refused) {
    int *f = event_fds, promised = epoll_create(2), free = epoll_create1(0);
    make_event_fds();
    GIVES(add(promised, f[0], EPOLLIN), 0);
    GIVES(add(promised, f[1], EPOLLIN), 0);
    if (refused) no_addition(promised, f[2], ENOSPC), no_addition(promised, f[3], ENOSPC);
    else {
        GIVES(add(promised, f[2], EPOLLIN), 0);
        GIVES(add(promised, f[3], EPOLLIN), 0);
    }
    for (int i = 0; i < 6; i++) GIVES(add(free, f[i], EPOLLIN), 0);
    struct epoll_event event = interest(EPOLLOUT, 3);
    GIVES(epoll_ctl(promised, EPOLL_CTL_MOD, f[1], &event), 0);
    GIVES(epoll_ctl(promised, EPOLL_CTL_DEL, f[0], NULL), 0);
    if (refused) {
        GIVES(add(promised, f[4], EPOLLIN), 0);
        no_addition(promised, f[5], ENOSPC);
        REFUSED(add(promised, f[4], EPOLLIN), EEXIST);
    }
    EQUAL(watches_of(promised), refused ? 2 : 3);
}

/* events=3: a wait returns at most three events, and the rest later. */
static void events(void) {
    static const int calls = 5;
    for (int call = 0; call < calls; call++) {
        struct epoll_event got[64];
        int epfd = epoll_create1(0), seen[64] = {0}, sum = 0;
        for (int i = 0; i < 10; i++) {
            int fd = eventfd(1, 0);
            QUIETLY(fd < 64 && add(epfd, fd, EPOLLIN | EPOLLET) == 0);
        }
        static const int batches[] = {3, 3, 3, 1, 0};
        for (int round = 0; round < 5; round++) {
            struct timespec zero = {0, 0};
            memset(got, 0x55, sizeof got);
            int count = call == 0   ? epoll_wait(epfd, got, 64, 0)
                        : call == 1 ? epoll_pwait(epfd, got, 64, 0, NULL)
                        : call == 2 ? epoll_pwait2(epfd, got, 64, &zero, NULL)
                        : call == 3 ? (int)syscall(SYS_epoll_wait, epfd, got, 64, 0)
                                    : (int)syscall(SYS_epoll_pwait, epfd, got, 4, 0, NULL, 8);
            check_equal(count, batches[round], "events in a wait", __LINE__);
            for (int i = 0; i < count; i++) sum += seen[got[i].data.u64]++ == 0;
            QUIETLY(got[count > 0 ? count : 0].events == 0x55555555);
        }
        check_equal(sum, 10, "different descriptors reported", __LINE__);
        FAILS(epoll_wait(epfd, got, (int)descriptors_open() * 0, 0), EINVAL);
        FAILS(epoll_wait(epfd, got, descriptors_open() * -1, 0), EINVAL);
        for (int fd = 3; fd < 64; fd++) close(fd);
    }
}

/* instances=2,watches=2,on-limit=warn: all of it works. */
static void warn(void) {
    int *f = event_fds;
    make_event_fds();
    for (int i = 0; i < 3; i++) (void)WORKS(epoll_create1(0));
    int inner = WORKS(epoll_create1(0)), epfd = WORKS(epoll_create(3));
    for (int i = 0; i < 5; i++) GIVES(add(epfd, f[i], EPOLLIN), 0);
    additions_of_the_kernels_own_mind(epfd, f[0], inner);
    EQUAL(watches_of(epfd), 5);
    EQUAL(kernel_truth().instances, 5);
}

/* instances=2,watches=2,on-limit=abort: the third of each ends the program. */
static void aborting(const char *what) {
    int epfd = epoll_create1(0), *f = event_fds;
    make_event_fds();
    int inner = epoll_create1(0);
    for (int i = 0; i < 2; i++) GIVES(add(epfd, f[i], EPOLLIN), 0);
    additions_of_the_kernels_own_mind(epfd, f[0], inner);
    say("now\n");
    if (*what == 'i') epoll_create1(0);
    else add(epfd, f[2], EPOLLIN);
    say("FAIL not aborted\n");
}

int main(int count, char **arguments) {
    const char *row = count > 1 ? arguments[1] : "";
    if (strcmp(row, "instances") == 0) instances();
    else if (strcmp(row, "none") == 0) none();
    else if (strcmp(row, "watches") == 0) watches();
    else if (strcmp(row, "instance-watches") == 0) instance_watches();
    else if (strcmp(row, "memory") == 0) memory();
    else if (strcmp(row, "size-enforced") == 0) size(1);
    else if (strcmp(row, "size-free") == 0) size(0);
    else if (strcmp(row, "events") == 0) events();
    else if (strcmp(row, "warn") == 0) warn();
    else if (strcmp(row, "abort-instances") == 0) aborting("instances");
    else if (strcmp(row, "abort-watches") == 0) aborting("watches");
    else if (strcmp(row, "abort-at-once") == 0) epoll_create1(0);
    else return 2;
    return verdict();
}
