/*
 * Makes a crowd to measure in.
 *
 *   crowd mounts COUNT DIRECTORY             binds DIRECTORY/source to COUNT new directories below DIRECTORY
 *   crowd processes COUNT USERS DIRECTORY    keeps COUNT processes, the first USERS of which have a file of DIRECTORY
 *                                            open; prints "ready", and ends them all when its standard input closes
 *
 * Each process holds ten further files open, about what a small daemon has. The kernel ends them with their parent.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int mounts(int count, const char *directory)
{
    char source[4096], target[4096];
    snprintf(source, sizeof source, "%s/source", directory);
    if (mkdir(source, 0755) < 0)
        return perror(source), 1;
    for (int i = 0; i < count; i++) {
        snprintf(target, sizeof target, "%s/mount-%05d", directory, i);
        if (mkdir(target, 0755) < 0 || mount(source, target, NULL, MS_BIND, NULL) < 0)
            return perror(target), 1;
    }
    return 0;
}

static void live(int user, const char *directory, pid_t parent, int settled)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    if (user && open(directory, O_RDONLY | O_DIRECTORY) < 0)
        _exit(1);
    for (int i = 0; i < 10; i++)
        open("/dev/null", O_RDONLY);
    close(settled);
    for (;;)
        pause();
}

static int processes(int count, int users, const char *directory)
{
    pid_t *children = calloc(count, sizeof *children), self = getpid();
    int settled[2];
    int made = 0, failed = children == NULL || pipe(settled) < 0;
    while (!failed && made < count) {
        pid_t child = fork();
        if (child == 0)
            live(made < users, directory, self, settled[1]);
        if (child < 0) {
            perror("fork");
            failed = 1;
        } else {
            children[made++] = child;
        }
    }
    if (!failed) {
        char byte;
        close(settled[1]);
        while (read(settled[0], &byte, 1) > 0) /* ends when every child has closed its end */
            ;
        puts("ready");
        fflush(stdout);
        while (read(0, &byte, 1) > 0)
            ;
    }
    for (int i = 0; i < made; i++)
        kill(children[i], SIGKILL);
    while (wait(NULL) > 0)
        ;
    return failed;
}

int main(int count, char **word)
{
    if (count == 4 && !strcmp(word[1], "mounts"))
        return mounts(atoi(word[2]), word[3]);
    if (count == 5 && !strcmp(word[1], "processes"))
        return processes(atoi(word[2]), atoi(word[3]), word[4]);
    fprintf(stderr, "usage: crowd mounts COUNT DIRECTORY | crowd processes COUNT USERS DIRECTORY\n");
    return 2;
}
