// Package pumpfaults shows, on real processes, that the data pump loses nothing,
// applies once and keeps the order of every key, whatever happens to the sink and
// to those who feed it.
//
// A reader meets two things: [Run], which puts three members with their embedded
// stores and a PostgreSQL of its own through eight proofs, one after the other and
// all under load, and [Line], which is what one of the two stores has come to.
//
// # The judge
//
// It is the clients' own record of what was acknowledged to them, with versions. A
// client that does not know what became of a request leaves that key alone from then
// on, so for every other key there is exactly one right content.
//
// Of PostgreSQL "once" is read from the journal, which is written in the same
// transaction as the rows and has no unique key: an upsert would hide what is applied
// twice. The embedded store has no journal. There a change that is carried out again
// counts when it shows: an entry that is back after its removal, or that nobody
// wrote, is applied twice; an entry older than the last acknowledged write of its key
// is out of order.
//
// # What it does not show
//
// The embedded store lives and ends with its member: where the sink is down, it is
// that of the member that is killed or stopped. It refuses no row; a row that
// PostgreSQL refuses is for it a row like others. What the rights at hand do not
// allow is skipped by name.
package pumpfaults
