package space

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// String returns the token as text, "epoch-number" in decimal. Who compares the
// texts of two tokens does not learn which is the newer one: compare the tokens.
func (t Token) String() string {
	b := strconv.AppendUint(nil, uint64(t.Epoch), 10)
	b = append(b, '-')
	return string(strconv.AppendUint(b, uint64(t.Number), 10))
}

// ParseToken reads what String returns. An empty epoch or number, a sign, leading
// zeros and the zero Token are refused, so that a token has one text only.
func ParseToken(s string) (Token, error) {
	epoch, number, _ := strings.Cut(s, "-")
	e, bad := strconv.ParseUint(epoch, 10, 64)
	n, worse := strconv.ParseUint(number, 10, 64)
	t := Token{Epoch: Epoch(e), Number: Seq(n)}
	if bad != nil || worse != nil || n == 0 || t.String() != s {
		return Token{}, &Error{Code: CodeInvalid, Detail: fmt.Sprintf("%q is no token of a claim", s), Hint: "give it as the claim showed it, such as 3-1207"}
	}
	return t, nil
}

// MarshalText returns the text of the token.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads the text of a token.
func (t *Token) UnmarshalText(b []byte) (err error) {
	*t, err = ParseToken(string(b))
	return err
}

// Compare returns -1, 0 or 1 as t was granted before u, is u, or was granted after
// u, of tokens of one partition. What a holder wrote elsewhere is fenced by
// refusing a token that is lower than one seen before.
func (t Token) Compare(u Token) int {
	return cmp.Or(cmp.Compare(t.Epoch, u.Epoch), cmp.Compare(t.Number, u.Number))
}
