// Package folder keeps one Pebble in one folder: what a member needs around each
// of its databases, whatever the keys and records in them mean.
//
// A reader meets two things:
//
//   - [Open] checks the format of a folder, locks it, creates what is missing and
//     opens Pebble in it.
//   - [Folder] is the open database. [Folder.Commit] writes, [Folder.Err] tells
//     whether the disk has failed.
//
// # Promises
//
// A folder of a newer format or with something else in it is refused and left as
// it is. A folder is used by one process at a time.
//
// A crash at any moment leaves a folder that opens. One whose creation never
// ended is cleared and begun anew: nothing in it was ever acknowledged.
//
// The first failure of the disk ends the folder for good: the owner is told once
// and everything later fails with [ErrFailed]. Nobody can say what a disk holds
// after a failed sync, so there is no second try. No caller of this package is
// held by a failed Pebble.
//
// # What it does not do
//
// Reads go to Pebble itself, and who reads or writes must have ended before
// Close: the owner counts them.
package folder
