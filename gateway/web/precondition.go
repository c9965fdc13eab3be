package web

import (
	"errors"
	"net/http"
	"strings"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
)

// precondition turns the conditional headers of RFC 9110 into what the space
// checks itself: If-Match with a version or *, If-None-Match with *.
func precondition(r *http.Request, op *space.Op) (conditional bool, err error) {
	match, none := r.Header.Get("If-Match"), r.Header.Get("If-None-Match")
	switch {
	case match != "" && none != "":
		return false, invalid("If-Match and If-None-Match exclude each other", "")
	case none != "" && op.Code != space.OpWrite:
		return false, invalid("If-None-Match makes no sense here", "an entry that is absent cannot be changed or removed")
	case none == "*":
		op.Mode = space.ModeInsert
	case none != "":
		return false, invalid("If-None-Match of a write is *", "it asks for the key to be absent")
	case match == "*":
		op.Mode = space.ModeUpdate
	case match != "":
		if op.Match, err = parseETag(match); err != nil {
			return false, invalid("If-Match is not a version", `send the ETag of the entry, such as "42"`)
		}
	default:
		return false, nil
	}
	return true, nil
}

// failedPrecondition makes a refusal that a conditional header has asked for the
// one status that HTTP has for it. Name and code still say which it was.
func failedPrecondition(err error) error {
	if !errors.Is(err, grid.ErrExists) && !errors.Is(err, grid.ErrConflict) && !errors.Is(err, grid.ErrNotFound) {
		return err
	}
	p := problemOf(err)
	p.Status = http.StatusPreconditionFailed
	return p
}

// notModified reports whether the client has this version already.
func notModified(r *http.Request, tag string) bool {
	for candidate := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
		candidate = strings.TrimSpace(candidate)
		if candidate == "*" || strings.TrimPrefix(candidate, "W/") == tag {
			return true
		}
	}
	return false
}
