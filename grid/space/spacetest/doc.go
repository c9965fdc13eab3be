// Package spacetest says what a space is, in tests: whatever offers one, a
// partition's state machine, a grid or a door, can be held against it.
//
// # The model
//
// [Model] is a partition written the obvious way, without anything that makes one
// fast. [Comparison] feeds the same commands to a partition, to a second one that
// goes through snapshots, and to the model; [Commands] draws them. [Check] does
// this within a property of pgregory.net/rapid, [Drive] from a seed for as long as
// one likes.
//
// # The suite
//
// [Run] takes a [Front], which carries out requests as a user makes them, and runs
// scripts that can be read as the semantics of a space, and a random workload
// against the model. What a front does not offer has to be said in the call, by
// the names of the scripts, so that nothing is passed over in silence: a name too
// many is a failure as well as one too few.
//
// The package is for tests. It knows neither grids nor doors: their fronts live
// beside them.
package spacetest
