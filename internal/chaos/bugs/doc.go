// Package bugs proves that the tests of this project are worth something: it
// breaks the product in known ways, one at a time, and demands that somebody
// notices.
//
// A [Bug] is a text file in testdata: one sentence about what is wrong, who should
// catch it, and the lines of source to replace. It is never applied to the source
// itself: [Bug.Overlay] writes the changed files beside it and a list that `go
// build -overlay` understands. A catcher is a test by its name, the simulation with
// a range of seeds, or a run of the fault harness; it has caught the bug if it
// builds, runs and fails. What does not build has caught nothing, nor has what
// hangs.
//
// `make bugs` runs all catchers, first without any bug, when they must pass, and
// prints a table and one line of JSON. The ordinary test of the package checks that
// every bug still applies: it has to be looked after when the lines that it
// replaces change.
package bugs
