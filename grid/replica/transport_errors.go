package replica

import (
	"errors"

	"github.com/spacegrid/spacegrid/internal/wire"
)

var (
	// ErrWrongIncarnation is returned when the member holds the group under
	// another server id than the one addressed: it has lost its state and come
	// back, or has moved on. The request was not delivered, and never will be.
	ErrWrongIncarnation = errors.New("replica: wrong incarnation: the member holds this group under another server id")

	// ErrNoGroup is returned when the member holds no replica of the group at
	// the moment. The request was not delivered.
	ErrNoGroup = errors.New("replica: the member holds no replica of this group at the moment")

	// ErrGroupBusy is returned when the group's queue on the member was full,
	// or its replica did not take the request in time. The request was not
	// delivered.
	ErrGroupBusy = errors.New("replica: the group's replica on the member is busy; retry after a pause")

	// ErrGroupRestarting is returned while a replica waits to be restarted
	// after a snapshot. The request was not delivered.
	ErrGroupRestarting = errors.New("replica: the group's replica on the member is restarting after a snapshot")

	// ErrStaleReply is returned for a reply to AppendEntries that is older
	// than TransportConfig.StaleAfter. The follower may have stored the
	// entries; the leader sends them again.
	ErrStaleReply = errors.New("replica: reply to AppendEntries came too late to count as contact")
)

// Codes under which errors cross a connection. Code 0 is an error of raft's
// own, of which only the text crosses.
const (
	codeWrongIncarnation uint16 = iota + 1
	codeNoGroup
	codeGroupBusy
	codeGroupRestarting
)

var errorCodes = []struct {
	code uint16
	err  error
}{
	{codeWrongIncarnation, ErrWrongIncarnation},
	{codeNoGroup, ErrNoGroup},
	{codeGroupBusy, ErrGroupBusy},
	{codeGroupRestarting, ErrGroupRestarting},
}

// encodeError makes an error ready to cross.
func encodeError(err error) *wire.Error {
	e := &wire.Error{Message: err.Error()}
	for _, known := range errorCodes {
		if errors.Is(err, known.err) {
			e.Code = known.code
		}
	}
	return e
}

// decodeError turns what has crossed into the error it was. Raft compares some
// of its errors by text, so those come back with the very same text.
func decodeError(err error) error {
	var e *wire.Error
	if !errors.As(err, &e) {
		return err
	}
	for _, known := range errorCodes {
		if e.Code == known.code {
			return known.err
		}
	}
	return err
}
