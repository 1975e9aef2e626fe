/* The wall clock of one process, read from a file: LD_PRELOAD this, and name the file in WALL_CLOCK_FILE.
 *
 * The file holds one native 64-bit number, microseconds since 1970; it is mapped, so a new value counts from the next call on. 0, or no
 * file: the real clock. The monotonic clock is left alone. libfaketime cannot be used with redis-server: its first call allocates, and
 * jemalloc asks for the time while it starts, which ends in a recursion. This one allocates nothing.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *shown;
static int looked;

static int64_t faked_us(void) {
    if (!looked) {
        looked = 1;
        const char *path = getenv("WALL_CLOCK_FILE");
        int fd = path ? open(path, O_RDONLY) : -1;
        if (fd >= 0) {
            void *map = mmap(NULL, 8, PROT_READ, MAP_SHARED, fd, 0);
            if (map != MAP_FAILED) shown = map;
            close(fd);
        }
    }
    return shown ? *shown : 0;
}

int clock_gettime(clockid_t which, struct timespec *at) {
    int64_t us = which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE ? faked_us() : 0;
    if (!us) return (int)syscall(SYS_clock_gettime, which, at);
    at->tv_sec = us / 1000000;
    at->tv_nsec = us % 1000000 * 1000;
    return 0;
}

int gettimeofday(struct timeval *at, void *zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
