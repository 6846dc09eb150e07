/* A wall clock that can be set while a program runs: preloaded, it adds the seconds in the file $FALSE_CLOCK to CLOCK_REALTIME.
 * All other clocks and all timers stay as they are, as when somebody sets the time of a machine. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long long off_by(void) {
    static int file = -1;
    if (file < 0) {
        const char *path = getenv("FALSE_CLOCK");
        file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    }
    char text[24] = {0};
    return file >= 0 && pread(file, text, sizeof text - 1, 0) > 0 ? atoll(text) : 0;
}

int clock_gettime(clockid_t id, struct timespec *at) {
    int result = (int)syscall(SYS_clock_gettime, id, at);
    if (result == 0 && id == CLOCK_REALTIME)
        at->tv_sec += off_by();
    return result;
}
