/*
 * Preloaded into cluster-glue's lrmd (1.0.12, Debian 12), which dies when its first client hangs up: it gives up one
 * reference too many to the event source of a client while glib still uses it. Here each source keeps one more.
 * Programs that lrmd starts do not get this.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>

#define SOURCES 4096

extern void *g_source_ref(void *source);

int G_CH_dispatch_int(void *source, void *callback, void *data)
{
    static int (*real)(void *, void *, void *);
    static void *kept[SOURCES];
    static unsigned count;
    unsigned i = 0;

    while (i < count && kept[i] != source)
        i++;
    if (i == count && count < SOURCES) {
        kept[count++] = source;
        g_source_ref(source);
    }
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "G_CH_dispatch_int");
    return real(source, callback, data);
}

__attribute__((constructor)) static void not_for_children(void)
{
    unsetenv("LD_PRELOAD");
}
