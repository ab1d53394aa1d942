/* The second look at the addresses of the machine is the last thing that this process does: its kernel kills it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <ifaddrs.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>

int getifaddrs(struct ifaddrs **found) {
    static atomic_int calls;
    int (*real)(struct ifaddrs **) = (int (*)(struct ifaddrs **))dlsym(RTLD_NEXT, "getifaddrs");
    if (atomic_fetch_add(&calls, 1) == 1) raise(SIGKILL);
    if (real == NULL) {
        errno = ENOSYS;
        return -1;
    }
    return real(found);
}
