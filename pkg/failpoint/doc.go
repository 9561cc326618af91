// Package failpoint names the places in the daemon at which the tests kill it or make it hang, to show that whatever was
// half done there is put right by the next start.
//
// Without the build tag failpoint every call is an empty function that the compiler drops. With it, the environment variable
// BRAMBLED_FAILPOINT arms one point:
//
//	NAME          the process kills itself, as a power cut would, when it comes to the point
//	NAME:3        when it comes there for the third time
//	NAME:hang     whoever comes there stays there for ever
//
// The list of names is closed: a name that is not on it ends an armed process with a complaint, and the crash tests visit
// each name on the list and fail when a point is never come to.
package failpoint
