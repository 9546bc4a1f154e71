/*
 * Runs commands in turn, again and again, and says what each one cost with all its children.
 *
 *   measure ROUNDS BLOCK  EXIT-CODE [NAME=VALUE]... PROGRAM [ARGUMENT]...  [, EXIT-CODE ... PROGRAM ...]...
 *
 * In each round every command has its turn and runs BLOCK times.
 * One line per command: wall min, wall median, CPU min, CPU median (all microseconds), greatest resident memory (KiB).
 * The commands run with their three standard streams on /dev/null. An exit code other than the named one ends the
 * measurement: a command that fails fast must not look quick.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

struct command {
    int wanted;
    char **environment;
    char **arguments;
    double *wall, *cpu;
    long resident;
};

static void fail(const char *what)
{
    dprintf(9, "measure: %s: %s\n", what, strerror(errno));
    exit(2);
}

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (!memory)
        fail("memory");
    return memory;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e6 + time.tv_nsec / 1e3;
}

static double micros(struct timeval time)
{
    return time.tv_sec * 1e6 + time.tv_usec;
}

static int ascending(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* Takes one command from the argument list and returns where the next begins. */
static char **parse(char **word, struct command *command, int runs)
{
    size_t inherited = 0, own = 0;
    while (environ[inherited])
        inherited++;
    command->wanted = atoi(*word++);
    while (word[own] && strchr(word[own], '=') && word[own][0] != '/')
        own++;
    command->environment = allocate(inherited + own + 1, sizeof(char *));
    memcpy(command->environment, word, own * sizeof(char *));
    memcpy(command->environment + own, environ, inherited * sizeof(char *));
    command->arguments = word += own;
    command->wall = allocate(runs, sizeof(double));
    command->cpu = allocate(runs, sizeof(double));
    while (*word && strcmp(*word, ","))
        word++;
    if (word == command->arguments) {
        dprintf(9, "measure: no program\n");
        exit(2);
    }
    if (!*word)
        return word;
    *word = NULL;
    return word + 1;
}

static void run(struct command *command, int number)
{
    struct rusage usage;
    pid_t child;
    int status;
    double begin = now();
    errno = posix_spawn(&child, command->arguments[0], NULL, NULL, command->arguments, command->environment);
    if (errno)
        fail(command->arguments[0]);
    if (wait4(child, &status, 0, &usage) < 0)
        fail("wait4");
    command->wall[number] = now() - begin;
    command->cpu[number] = micros(usage.ru_utime) + micros(usage.ru_stime);
    if (usage.ru_maxrss > command->resident)
        command->resident = usage.ru_maxrss;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (code == command->wanted)
        return;
    dprintf(9, "measure: exit code %d, not %d:", code, command->wanted);
    for (char **word = command->arguments; *word; word++)
        dprintf(9, " %s", *word);
    dprintf(9, "\n");
    exit(1);
}

int main(int count, char **word)
{
    int block = count > 4 ? atoi(word[2]) : 0, rounds = block > 0 ? atoi(word[1]) : 0, runs = rounds * block;
    if (runs < 1) {
        dprintf(2, "usage: measure ROUNDS BLOCK CODE [NAME=VALUE]... PROGRAM [ARGUMENT]... [, CODE ...]\n");
        return 2;
    }
    struct command *commands = allocate(count, sizeof *commands);
    int total = 0;
    for (char **next = word + 3; *next;)
        next = parse(next, &commands[total++], runs);

    int null = open("/dev/null", O_RDWR);
    int report = fcntl(1, F_DUPFD_CLOEXEC, 10);
    if (null < 0 || report < 0 || dup3(2, 9, O_CLOEXEC) < 0)
        fail("standard streams");
    for (int stream = 0; stream < 3; stream++)
        dup2(null, stream);
    if (null > 2)
        close(null);

    for (int round = 0; round < rounds; round++)
        for (int i = 0; i < total; i++)
            for (int n = 0; n < block; n++)
                run(&commands[i], round * block + n);
    for (int i = 0; i < total; i++) {
        struct command *it = &commands[i];
        qsort(it->wall, runs, sizeof(double), ascending);
        qsort(it->cpu, runs, sizeof(double), ascending);
        dprintf(report, "%.0f %.0f %.0f %.0f %ld\n", it->wall[0], it->wall[runs / 2], it->cpu[0],
                it->cpu[runs / 2], it->resident);
    }
    return 0;
}
