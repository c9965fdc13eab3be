// Package fault is what can be done to a lab: processes that die or freeze, links
// that are cut, disks that fill, fail, lose power or lie, clocks that jump,
// leaderships that move.
//
// A [Fault] strikes, and leaves an [Injury] that heals. No fault is believed to have
// happened because its tools did not complain: a cut is a probe that does not
// arrive, a power failure is a file that is gone, a failed sync is a member that
// saw it. Strike returns an error if it cannot show that, and has then undone what
// it began; a run with such an error proves nothing.
//
// All choices are drawn from the generator that Strike is given, so that the same
// seed chooses the same again, as far as members do the same: who leads is for them
// to say.
//
// Faults that end, freeze or damage members hold them (see lab.Lab.Hold), so that
// several faults at a time take no more than a minority, unless one says that it is
// about all.
package fault
