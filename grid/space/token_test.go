package space_test

import (
	"errors"
	"testing"

	"github.com/spacegrid/spacegrid/grid/space"
)

// TestATokenHasOneText: what String writes is read back, and nothing else is.
func TestATokenHasOneText(t *testing.T) {
	for _, token := range []space.Token{{Epoch: 0, Number: 1}, {Epoch: 3, Number: 1207}, {Epoch: 1<<64 - 1, Number: 1<<64 - 1}} {
		var got space.Token
		if err := got.UnmarshalText([]byte(token.String())); err != nil || got != token {
			t.Errorf("%s is read as %v: %v", token, got, err)
		}
	}
	for _, s := range []string{"", "-", "3", "3-", "-7", "3-07", "+3-7", "3-0", "0-0", "3-7-1", " 3-7", "18446744073709551616-1"} {
		if token, err := space.ParseToken(s); !errors.Is(err, space.ErrInvalid) {
			t.Errorf("%q is read as %v: %v", s, token, err)
		}
	}
}
