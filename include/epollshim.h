/*
 * epollshim.h: a program under epollshim looks at the shim from inside.
 *
 * The functions exist only where libepollshim.so is preloaded: declare them weak, or look them up with dlsym.
 * A function that can fail returns -1 and sets errno; epollshim_error() has the words.
 *
 * Made by cbindgen from src/capi.rs. Do not edit: `make header`.
 */

#ifndef EPOLLSHIM_H
#define EPOLLSHIM_H

#include <stddef.h>
#include <stdint.h>

/*
 What this process has done with epoll, since it began or since `epollshim_reset`. Times are nanoseconds.
 */
struct epollshim_stats {
  /*
   Calls of each function, failed ones included.
   */
  uint64_t epoll_create_calls;
  uint64_t epoll_create1_calls;
  uint64_t epoll_ctl_calls;
  uint64_t epoll_wait_calls;
  uint64_t epoll_pwait_calls;
  uint64_t epoll_pwait2_calls;
  /*
   Calls of all of them that failed.
   */
  uint64_t failures;
  uint64_t instances_created;
  /*
   Epoll instances that this process has a descriptor of.
   */
  uint64_t instances_live;
  uint64_t instances_peak;
  /*
   EPOLL_CTL_ADD, MOD and DEL that succeeded.
   */
  uint64_t watches_added;
  uint64_t watches_modified;
  uint64_t watches_deleted;
  /*
   Interests that the kernel removed at a close.
   */
  uint64_t watches_vanished;
  uint64_t watches_live;
  uint64_t watches_peak;
  /*
   Waits that returned no event, were interrupted by a signal handler, or returned `maxevents` events.
   */
  uint64_t waits_empty;
  uint64_t waits_interrupted;
  uint64_t waits_full;
  /*
   Events delivered.
   */
  uint64_t events;
  /*
   Time spent in waits that could block.
   */
  uint64_t blocked_ns;
  /*
   Estimated kernel memory of instances and interests, in bytes.
   */
  uint64_t kernel_bytes;
  uint64_t kernel_bytes_peak;
  /*
   What went past the shim: instances and interests found in the kernel only, and entries of the shim's
   ledger that were no longer true.
   */
  uint64_t unseen_instances;
  uint64_t unseen_watches;
  uint64_t healed;
  /*
   Calls or changes that could not be noted, for want of memory.
   */
  uint64_t lost;
  /*
   1: this answer agrees with /proc/self/fdinfo, and with kcmp(2) about which descriptors are one instance; 0: they could
   not be compared, or not all (kcmp is refused), or threads were too busy.
   */
  uint64_t reconciled;
};

/*
 What one epoll instance of this process has seen, by any of its descriptors.
 */
struct epollshim_instance_stats {
  /*
   1 for the first instance of the process.
   */
  uint64_t id;
  uint64_t watches_live;
  uint64_t watches_peak;
  uint64_t waits;
  uint64_t waits_empty;
  uint64_t waits_interrupted;
  uint64_t waits_full;
  uint64_t events;
  uint64_t kernel_bytes;
  /*
   The promise made to epoll_create; -1 where it was made otherwise.
   */
  int64_t size;
  /*
   The return address of the call that made it; 0 where that was not seen.
   */
  uint64_t site;
};

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/*
 The shim's version, such as "0.1.0". Valid for ever.
 */
const char *epollshim_version(void);

/*
 Why the last call here failed, for people; "" if none did. Valid until the next failing call of any thread.
 */
const char *epollshim_error(void);

/*
 Fills `*out` with the figures of this process, compared with the kernel's lists first.

 `size` is `sizeof(struct epollshim_stats)` of the header that the caller was compiled with: a shim that
 knows less leaves the rest zero, one that knows more leaves it out. Returns 0; or -1 with errno `EINVAL` (`out`
 is null, or `size` is smaller than the first field) or `ENOTSUP` (the shim only forwards in this process).

 # Safety
 `out` must be null or point to `size` writable bytes.
 */
int epollshim_stats(size_t size,
                    struct epollshim_stats *out);

/*
 Fills `*out` with the figures of the epoll instance that `epfd` refers to. Not compared with the kernel.

 Returns 0; or -1 with errno `EINVAL` (as `epollshim_stats`), `EBADF` (the shim knows no epoll instance by that
 descriptor) or `ENOTSUP`.

 # Safety
 `out` must be null or point to `size` writable bytes.
 */
int epollshim_instance_stats(size_t size,
                             int epfd,
                             struct epollshim_instance_stats *out);

/*
 Writes a report of the process as it stands to a descriptor, in the format of `EPOLLSHIM_REPORT_FORMAT`.

 Returns 0; or -1 with errno `ENOTSUP`, the error of write(2), or `ETIMEDOUT` (nobody read for two seconds).
 */
int epollshim_report(int fd);

/*
 Arms faults: the rules of `EPOLLSHIM_INJECT`, such as "epoll_wait:error=EINTR:prob=0.1". They come behind those that are
 armed already, and count their calls from now on. Rules that no kernel could have caused are refused unless
 `EPOLLSHIM_INJECT_IMPOSSIBLE=1` was in the environment.

 Returns 0; or -1 with errno `EINVAL` (`rules` is null, or the text is wrong: `epollshim_error` says where; or there
 are more than 64), `EBUSY` (another thread is changing them) or `ENOTSUP`. Of a text with a mistake nothing is armed.

 # Safety
 `rules` must be null or zero-terminated.
 */
int epollshim_inject(const char *rules);

/*
 Takes all faults back, those of the environment too.

 Returns 0; or -1 with errno `EBUSY` (another thread is changing them) or `ENOTSUP`.
 */
int epollshim_inject_clear(void);

/*
 Sets limits as `EPOLLSHIM_LIMIT` does, such as "instances=8,watches=1000", in place of all that are set. Null or "":
 none. What lives already counts; what is beyond a limit already stays.

 Returns 0; or -1 with errno `EINVAL` (the text is wrong: `epollshim_error` says where), `EBUSY` (another thread has the
 ledger), `EACCES` (the session of `user-` limits cannot be used) or `ENOTSUP` (`descriptors=` without a census, or the shim only
 forwards in this process).

 # Safety
 `limits` must be null or zero-terminated.
 */
int epollshim_limit(const char *limits);

/*
 Begins all counts and peaks anew, those of faults and limits too; what lives goes on to be known, and what is armed
 to be armed. Calls that other threads make meanwhile are counted in full, in part or not at all.

 Returns 0; or -1 with errno `ENOTSUP`.
 */
int epollshim_reset(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* EPOLLSHIM_H */
