// Package workload is what clients do to a cluster while others break it, the
// history that they keep of it, and how that history is judged.
//
// A reader meets [Place] first, a cluster as clients see it, and [Workload], which
// is one kind of use: registers, sets, a bank, queues, claims, watches, leases. Its
// clients run against a Place and keep a [History], one line for each operation;
// Judge turns a history into a [Verdict] and looks at nothing else, so that a
// history that was kept can be judged again by a better checker.
//
// # Clients
//
// Most clients are bound to one member each, two go from member to member. Each
// keeps to its share of the rate, gives an operation up after two seconds, and goes
// on whatever happens: a fault ends an operation, never a workload. What a client
// knows of an operation is one of three: it took effect, it did not, or nobody
// knows. After the last the client goes on under another name, because whoever is
// still at work on one thing cannot begin the next.
//
// # Promises
//
// Run ends when its context does, within the time of an operation. Finish ends
// within a bound of its own. An operation is in the history before its client
// begins the next. A call that does not come back although its time was up long
// ago is itself reported: a client must never hang.
//
// # What it does not do
//
// It knows no processes and injects no fault. The rules by which histories are
// judged are in internal/check.
package workload
