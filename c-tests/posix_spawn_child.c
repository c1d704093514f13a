/* posix_spawn with file actions, system and popen: the children's closes do not affect the
 * parent. */
#include "check.h"

#include <spawn.h>

extern char **environ;
#include "borrowed.h"

static int spawned(posix_spawn_file_actions_t *actions, const char *path, const char *script) {
    char *const arguments[] = {"sh", "-c", (char *)(uintptr_t)script, NULL};
    pid_t child;
    int error = posix_spawn(&child, path, actions, NULL, arguments, environ);
    return error != 0 ? -error : status_of(child);
}

int main(void) {
    posix_spawn_file_actions_t actions;
    build_parent();
    posix_spawn_file_actions_init(&actions);
    EQUAL(posix_spawn_file_actions_addclose(&actions, epfd), 0);
    EQUAL(posix_spawn_file_actions_addclose(&actions, copy), 0);
    EQUAL(posix_spawn_file_actions_adddup2(&actions, fd, second), 0);
    EQUAL(posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0), 0);
    EQUAL(posix_spawn_file_actions_addclosefrom_np(&actions, other), 0);
    for (int round = 0; round < 3; round++) {
        EQUAL(spawned(NULL, "/bin/sh", "exit 3"), 3);
        parent_is_whole();
        EQUAL(spawned(&actions, "/bin/sh", "exit 4"), 4);
        parent_is_whole();
        EQUAL(spawned(&actions, "/nonexistent/sh", ""), -ENOENT);
        parent_is_whole();
        EQUAL(WEXITSTATUS(system("exit 5")), 5);
        char line[16] = "";
        FILE *words = popen("echo hello; exit 6", "re");
        CHECK(words != NULL && fgets(line, sizeof line, words) != NULL && strcmp(line, "hello\n") == 0);
        EQUAL(WEXITSTATUS(pclose(words)), 6);
        parent_is_whole();
    }
    posix_spawn_file_actions_destroy(&actions);
    parent_ends();
    return verdict();
}
