/* limit_random SEED N [user]: N random operations of one thread, with
 * instance-watches=4,memory=5100,size=enforce and instances=5,watches=9 armed, or with `user`:
 * user-instances=5,user-watches=9. Before each creation and each ADD it reads the kernel's state
 * (/proc). From that alone follows what the call must return, down to the errno, and it must return
 * exactly that. */
#include "limit.h"

#define LOWEST 3
#define TOP 64
#define HISTORY 60

static const int most_instances = 5, most_watches = 9, most_of_one = 4;
static const long most_bytes = 5100;

enum kind { CLOSED, EPOLL, OTHER, A_FILE };
static unsigned char kinds[TOP];
static int promised[TOP]; /* the size that an instance was created with; -1: none */
static uint64_t seed, state;
static long step, refusals, agreed;
static int user; /* also the user's counts, which add up a child's and its parent's */
static char history[HISTORY][96];

static unsigned pick(unsigned bound) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (unsigned)((state * 2685821657736338717u) >> 33) % bound;
}

__attribute__((format(printf, 2, 3))) static long did(long result, const char *format, ...) {
    int error = errno;
    char *line = history[step % HISTORY];
    va_list words;
    va_start(words, format);
    int length = vsnprintf(line, 64, format, words);
    va_end(words);
    snprintf(line + (length < 64 ? length : 63), 32, " = %ld (%d)", result, result < 0 ? error : 0);
    errno = error;
    return result;
}

static void learn(long fd, int kind, int size) {
    if (fd >= 0 && fd < TOP) kinds[fd] = (unsigned char)kind, promised[fd] = size;
}

static int some(int kind) {
    int start = LOWEST + (int)pick(TOP - LOWEST);
    if (pick(30) == 0) return start;
    for (int i = 0; i < TOP - LOWEST; i++) {
        int fd = LOWEST + (start - LOWEST + i) % (TOP - LOWEST);
        if (kind == CLOSED ? kinds[fd] != CLOSED : kinds[fd] == kind) return fd;
    }
    return start;
}

/* The kernel's view of all instances, and of one. */
struct view {
    int instances, watches, of_one, watched;
};

static unsigned long inode_of(int fd) {
    struct stat status;
    return fstat(fd, &status) == 0 ? (unsigned long)status.st_ino : 0;
}

/* Every descriptor that is watched here is a socket, whose inode distinguishes it from the
 * others. */
static void read_interests(int epfd, int fd, int *count, int *watched) {
    char path[64], text[8192];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", epfd);
    int info = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = 0, got;
    while (info >= 0 && (got = read(info, text + length, sizeof text - 1 - (size_t)length)) > 0) length += got;
    if (info >= 0) close(info);
    text[length] = 0;
    *count = *watched = 0;
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        int tfd;
        unsigned long inode;
        char *ino = strstr(line, "ino:");
        if (sscanf(line, "tfd: %d", &tfd) != 1 || ino == NULL) continue;
        sscanf(ino, "ino:%lx", &inode);
        ++*count;
        if (tfd == fd && inode == inode_of(fd)) *watched = 1;
    }
}

static struct view view_of(int epfd, int fd) {
    struct view view = {0, 0, 0, 0};
    int met[TOP], count, watched;
    for (int at = LOWEST; at < TOP; at++) {
        int known = 0;
        if (kinds[at] != EPOLL) continue;
        for (int i = 0; i < view.instances && !known; i++) {
            known = syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, met[i], at) == 0;
        }
        if (known) continue;
        met[view.instances++] = at;
        read_interests(at, -1, &count, &watched);
        view.watches += count;
    }
    if (epfd >= 0 && epfd < TOP && kinds[epfd] == EPOLL) read_interests(epfd, fd, &view.of_one, &view.watched);
    return view;
}

static void compare(long result, int error, int expected, const char *what, struct view view) {
    int got = result < 0 ? error : 0;
    refusals += expected == EMFILE || expected == ENOMEM || expected == ENOSPC;
    agreed++;
    if (got == expected) return;
    say("FAIL seed %llu, operation %ld: %s: expected %s, got %s; the kernel had %d instances and %d interests, %d of them in "
        "this one\n",
        (unsigned long long)seed, step, what, expected ? strerror(expected) : "success", got ? strerror(got) : "success",
        view.instances, view.watches, view.of_one);
    for (long i = step < HISTORY ? 0 : step - HISTORY + 1; i <= step; i++) {
        if (history[i % HISTORY][0]) say("     %ld: %s\n", i, history[i % HISTORY]);
    }
    _exit(1);
}

static long bytes(struct view view) { return view.instances * 704L + view.watches * 192L; }

static void create(void) {
    struct view view = view_of(-1, -1);
    int way = (int)pick(4), argument = pick(8) ? 1 + (int)pick(5) : 0, fails = 0;
    long fd = -1;
    if (way >= 2) argument = pick(8) ? (pick(2) ? EPOLL_CLOEXEC : 0) : 7;
    errno = SENTINEL;
    switch (way) {
    case 0: fd = did(epoll_create(argument), "epoll_create(%d)", argument); break;
    case 1: fd = did(syscall(SYS_epoll_create, argument), "SYS_epoll_create(%d)", argument); break;
    case 2: fd = did(epoll_create1(argument), "epoll_create1(%d)", argument); break;
    case 3: fd = did(syscall(SYS_epoll_create1, argument), "SYS_epoll_create1(%d)", argument); break;
    }
    int error = errno;
    if (way < 2 ? argument <= 0 : argument == 7) fails = EINVAL;
    else if (!user && view.instances + 1 > most_instances) fails = EMFILE;
    else if (bytes(view) + 704 > most_bytes) fails = ENOMEM;
    else if (view.instances + 1 > most_instances) fails = EMFILE;
    compare(fd, error, fails, "a creation", view);
    if (fd >= TOP) close((int)fd);
    learn(fd, EPOLL, way < 2 ? argument : -1);
}

static void addition(void) {
    struct epoll_event event = interest(pick(9) ? EPOLLIN : EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT, 1);
    int epfd = pick(12) ? some(EPOLL) : some(CLOSED), fd = pick(12) ? some(OTHER) : some(CLOSED), fails = 0;
    if (pick(20) == 0) fd = epfd;
    if (fd < TOP && kinds[fd] == EPOLL && fd != epfd) return; /* nests, or a loop: not modelled */
    struct epoll_event *at = pick(20) ? &event : nowhere();
    struct view view = view_of(epfd, fd);
    int is_epoll = kinds[epfd] == EPOLL;
    if (at != &event) fails = EFAULT;
    else if (kinds[epfd] == CLOSED || kinds[fd] == CLOSED) fails = EBADF;
    else if (kinds[fd] == A_FILE) fails = EPERM;
    else if (!is_epoll || epfd == fd || event.events != EPOLLIN) fails = EINVAL;
    else if (view.watched) fails = EEXIST;
    else if (view.of_one + 1 > most_of_one) fails = ENOSPC;
    else if (promised[epfd] >= 0 && view.of_one + 1 > promised[epfd]) fails = ENOSPC;
    else if (!user && view.watches + 1 > most_watches) fails = ENOSPC;
    else if (bytes(view) + 192 > most_bytes) fails = ENOMEM;
    else if (view.watches + 1 > most_watches) fails = ENOSPC;
    errno = SENTINEL;
    long result = pick(4) ? epoll_ctl(epfd, EPOLL_CTL_ADD, fd, at) : syscall(SYS_epoll_ctl, epfd, EPOLL_CTL_ADD, fd, at);
    did(result, "ADD %d to %d, events %x", fd, epfd, event.events);
    compare(result, errno, fails, "an ADD", view);
}

static void forked(void) {
    int spoils = (int)pick(3), more = (int)pick(6);
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        /* What is inherited counts and is shared, so this changes no interest. */
        if (spoils == 0) {
            if (close_range(LOWEST, ~0u, 0) != 0) _exit(1);
            memset(kinds, CLOSED, sizeof kinds);
        }
        for (int i = 0; i < more && spoils < 2 && !user; i++) {
            step++;
            create();
            for (int j = 0; j < 2; j++) {
                int fd = some(CLOSED);
                if (kinds[fd] != EPOLL) continue;
                close(fd);
                learn(fd, CLOSED, -1);
            }
        }
        if (spoils == 1) execl("/bin/true", "true", (char *)NULL);
        _exit(0);
    }
    if (did(status_of(child), "fork") != 0) _exit(1);
}

__attribute__((noinline)) static pid_t vforked(void) {
    pid_t child = vfork();
    if (child != 0) return child;
    for (int i = LOWEST; i < TOP; i += 3) dup2(0, i);
    epoll_create1(0);
    closefrom(LOWEST);
    epoll_create1(0);
    _exit(12);
}

static void operation(void) {
    int fds[2], fd, other;
    long result;
    struct epoll_event event = interest(EPOLLOUT, 2), got[4];
    history[step % HISTORY][0] = 0;
    switch (pick(30)) {
    case 0:
    case 1:
    case 2:
    case 3: create(); break;
    case 4:
    case 5:
    case 6:
    case 7:
    case 8:
    case 9:
    case 10: addition(); break;
    case 11:
        fd = some(EPOLL), other = some(OTHER);
        did(epoll_ctl(fd, EPOLL_CTL_MOD, other, &event), "MOD %d in %d", other, fd);
        break;
    case 12:
    case 13:
        fd = some(EPOLL), other = some(OTHER);
        did(epoll_ctl(fd, EPOLL_CTL_DEL, other, NULL), "DEL %d from %d", other, fd);
        break;
    case 14:
    case 15:
        fd = some(CLOSED), other = (int)pick(TOP);
        result = pick(2) ? did(dup(fd), "dup(%d)", fd) : did(fcntl(fd, F_DUPFD, other), "F_DUPFD(%d, %d)", fd, other);
        if (result >= TOP) close((int)result);
        else if (result >= 0) learn(result, kinds[fd], promised[fd]);
        break;
    case 16:
    case 17:
        fd = some(CLOSED), other = pick(2) ? some(CLOSED) : LOWEST + (int)pick(TOP - LOWEST);
        result = pick(2) ? did(dup2(fd, other), "dup2(%d, %d)", fd, other)
                         : did(syscall(SYS_dup3, fd, other, 0), "SYS_dup3(%d, %d)", fd, other);
        if (result >= 0) learn(result, kinds[fd], promised[fd]);
        break;
    case 18:
    case 19:
    case 20:
    case 21:
        fd = some(CLOSED);
        did(pick(2) ? close(fd) : syscall(SYS_close, fd), "close(%d)", fd);
        learn(fd, CLOSED, -1);
        break;
    case 22:
        fd = some(CLOSED), other = fd + (int)pick(4);
        did(pick(2) ? close_range((unsigned)fd, (unsigned)other, 0) : syscall(SYS_close_range, fd, other, 0),
            "close_range(%d, %d)", fd, other);
        for (; fd <= other; fd++) learn(fd, CLOSED, -1);
        break;
    case 23:
        fd = TOP - 1 - (int)pick(6);
        closefrom(fd);
        did(0, "closefrom(%d)", fd);
        for (; fd < TOP; fd++) learn(fd, CLOSED, -1);
        break;
    case 24:
    case 25:
    case 26:
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0) break;
        for (int i = 0; i < 2; i++) {
            if (fds[i] >= TOP) close(fds[i]);
            else learn(fds[i], OTHER, -1);
        }
        did(fds[0], "a socket, and %d", fds[1]);
        break;
    case 27:
        fd = some(EPOLL);
        did(epoll_wait(fd, got, 4, 0), "wait(%d)", fd);
        break;
    case 28:
        if (pick(4) == 0) {
            fd = open("/proc/self/exe", O_RDONLY);
            if (fd >= TOP) close(fd);
            else learn(fd, A_FILE, -1);
        }
        break;
    case 29:
        if (pick(12) == 0) forked();
        if (pick(12) == 0 && did(status_of(vforked()), "vfork") != 12) _exit(1);
        break;
    }
}

int main(int count, char **arguments) {
    if (count < 3) return 2;
    seed = strtoull(arguments[1], NULL, 0);
    state = seed * 0x9e3779b97f4a7c15u | 1;
    long operations = atol(arguments[2]);
    user = count > 3;
    close_range(LOWEST, ~0u, 0);
    nowhere();
    for (step = 0; step < operations; step++) operation();
    say("seed %llu: all agree\n", (unsigned long long)seed);
    fprintf(stderr, "%ld verdicts, %ld refusals\n", agreed, refusals);
    return agreed > operations / 8 && refusals > operations / 100 ? 0 : 3;
}
