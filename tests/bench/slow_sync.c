/* A disk that takes its time: every fsync and fdatasync waits SLOW_SYNC_MS first. For LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

static int slowly(const char *name, int file)
{
    const char *said = getenv("SLOW_SYNC_MS");
    long ms = said ? atol(said) : 0;
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    int (*sync)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);

    nanosleep(&pause, NULL);
    return sync(file);
}

int fsync(int file)
{
    return slowly("fsync", file);
}

int fdatasync(int file)
{
    return slowly("fdatasync", file);
}
