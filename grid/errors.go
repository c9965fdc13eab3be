package grid

import (
	"errors"

	"github.com/spacegrid/spacegrid/grid/cluster"
	"github.com/spacegrid/spacegrid/grid/space"
)

// Errors that callers branch on, with errors.Is. Refusals of operations are
// *space.Error values; these are the same ones under the names of this package.
var (
	ErrNotFound    = space.ErrNotFound    // no such entry, or no match
	ErrExists      = space.ErrExists      // an insert found the key present
	ErrConflict    = space.ErrConflict    // the entry has another version, or what a transaction read has changed
	ErrWrongKind   = space.ErrWrongKind   // the entry's value is not of the kind asked for
	ErrInvalid     = space.ErrInvalid     // the request itself is wrong
	ErrTooLarge    = space.ErrTooLarge    // key, value or request over its limit
	ErrNoSpace     = space.ErrNoSpace     // no space of that name
	ErrScanRefused = space.ErrScanRefused // the template has no index to use and would examine too much
	ErrRange       = space.ErrRange       // a number would leave its range, or an array has no such element
	ErrUnmet       = space.ErrUnmet       // the condition of a change does not hold

	// ErrUnavailable: nobody could take the request up in time; it had no effect.
	ErrUnavailable = cluster.ErrUnavailable
	// ErrIndeterminate: the request may or may not have taken effect.
	ErrIndeterminate = cluster.ErrIndeterminate
	// ErrUnknownHandler: no unit of that name has such a handler.
	ErrUnknownHandler = cluster.ErrUnknownHandler
)

// ErrCrossPartition is returned when operations that have to take effect
// together lie in several partitions.
var ErrCrossPartition = errors.New("grid: the keys of one atomic batch lie in several partitions (give them a common {tag}, or use Transact)")

// ErrClosed is returned by operations on a closed Grid.
var ErrClosed = errors.New("grid: closed")

// HandlerError is a refusal by a handler: see [Handler].
type HandlerError = cluster.HandlerError
