/* The least that a monitor can cost: the smallest static program that reads the mount table. */
#include <fcntl.h>
#include <unistd.h>

int main(void)
{
    static char buffer[65536];
    int table = open("/proc/self/mountinfo", O_RDONLY);
    ssize_t got;
    do
        got = read(table, buffer, sizeof buffer);
    while (got > 0);
    return got < 0;
}
