// Package chaos shows, on real processes, that what was acknowledged is kept:
// clients work, faults are injected and healed, and what the clients recorded is
// judged.
//
// A reader meets four things:
//
//   - [Run]: one run, which is a seed, a workload and the faults it is put under.
//     It ends in a [Result].
//   - [Matrix]: every workload under every fault, for a given time. It can be
//     stopped and goes on where it was.
//   - [Soak]: load without faults for long, to see whether anything grows.
//   - [Report]: the results as a table, as a page and as one line of JSON.
//
// # What a run proves, and what it does not
//
// A run counts only if every fault in it is known to have happened, if clients
// got on with a stated rate, and if the checks came to an end: else its verdict is
// unknown, or it is invalid, never passed. What the rights at hand do not allow is
// skipped by name and counted. Runs are of this program's own making, on one
// machine: nobody else has certified anything.
//
// The seed fixes which faults come in which order, how long they last and what the
// clients ask for. It does not fix how the processes are scheduled, so a
// failure is likely, not certain, to come back with its seed; the history of every
// failed run is kept and can be judged again.
package chaos
