package space

import (
	"errors"
	"fmt"

	"github.com/spacegrid/spacegrid/grid/space/predicate"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// Validate checks a client's command before it is proposed: limits, operation
// codes, and that values and templates are canonical. Apply relies on the last,
// so that equality of values is equality of bytes. The error is an *Error that
// says which operation is wrong and how.
func (c *Command) Validate() error {
	if len(c.Ops) == 0 || len(c.Ops) > MaxOps {
		return &Error{Code: CodeInvalid, Detail: fmt.Sprintf("a command has 1 to %d operations, not %d", MaxOps, len(c.Ops))}
	}
	if err := c.validateWait(); err != nil {
		return err
	}
	searches := 0
	for i := range c.Ops {
		if c.Ops[i].searches() {
			if searches++; searches > MaxSearches {
				return &Error{Code: CodeTooLarge, Detail: fmt.Sprintf("more than %d searches", MaxSearches), Hint: "ask one search for several entries, or send several commands"}
			}
		}
		if err := c.Ops[i].validate(); err != nil {
			err.Detail = fmt.Sprintf("operation %d: %s", i, err.Detail)
			return err
		}
	}
	if err := c.validateTxn(); err != nil {
		return err
	}
	return nil
}

func (o *Op) validate() *Error {
	if o.Code == OpCancel {
		return nil // see validateWait
	}
	if o.Code < OpWrite || o.Code > OpFinish {
		return &Error{Code: CodeInvalid, Detail: fmt.Sprintf("unknown operation %d", o.Code)}
	}
	unkeyed := o.Code == OpTakeMatch || o.Code >= OpReadMatch && o.Code != OpClaim
	switch {
	case !unkeyed && len(o.Key) == 0:
		return &Error{Code: CodeInvalid, Detail: "the key is empty"}
	case len(o.Key) > MaxKeyBytes:
		return &Error{Code: CodeTooLarge, Detail: fmt.Sprintf("the key has %d bytes", len(o.Key)), Hint: fmt.Sprintf("at most %d", MaxKeyBytes)}
	case len(o.Value) > MaxValueBytes:
		return &Error{Code: CodeTooLarge, Detail: fmt.Sprintf("the value has %d bytes", len(o.Value)), Hint: fmt.Sprintf("at most %d: split it over several entries", MaxValueBytes)}
	case o.Lease < Forever:
		return &Error{Code: CodeInvalid, Detail: "the lease is negative"}
	case o.Code == OpClaim || o.Code == OpClaimMatch || o.Code == OpNack || o.Code == OpExtend:
		if o.Lease < 0 || o.Lease > MaxClaimLease {
			return &Error{Code: CodeInvalid, Detail: fmt.Sprintf("a claim or delay of %v", o.Lease), Hint: fmt.Sprintf("at most %v: extend a claim that takes longer", MaxClaimLease)}
		}
	case o.Code == OpWrite && o.Kind == KindFields:
		if err := checkFields(o.Value); err != nil {
			return &Error{Code: CodeInvalid, Detail: "value: " + err.Error(), Hint: "write a canonical msgpack map with string keys"}
		}
	}
	if len(o.Template) > 0 {
		if err := checkFields(o.Template); err != nil {
			return &Error{Code: CodeInvalid, Detail: "template: " + err.Error(), Hint: "a template is a canonical msgpack map with string keys"}
		}
		if _, code := parseTemplate(o.Template); code != OK {
			return &Error{Code: CodeInvalid, Detail: fmt.Sprintf("a template has at most %d fields", maxTemplateFields)}
		}
	}
	if err := o.validateCondition(); err != nil {
		return err
	}
	for j := range o.Mutations {
		if err := o.Mutations[j].validate(); err != nil {
			return err
		}
	}
	if (o.Code == OpChange || o.Code == OpChangeMatch) && len(o.Mutations) == 0 {
		return &Error{Code: CodeInvalid, Detail: "a change without mutations"}
	}
	return nil
}

// validateCondition checks the predicate, and that the operation has an entry
// for its filter to hold of.
func (o *Op) validateCondition() *Error {
	if len(o.Predicate) > 0 {
		if _, err := predicate.Decode(o.Predicate); err != nil {
			return &Error{Code: CodeInvalid, Detail: err.Error(), Hint: "send what predicate.Predicate.Append returns"}
		}
	}
	if o.Code == OpWrite && o.Mode == ModeInsert && o.conditional() {
		return &Error{Code: CodeInvalid, Detail: "an insert with a condition", Hint: "it finds no entry to hold it of: drop the condition, or write in another mode"}
	}
	return nil
}

// checkFields reports why b is not a canonical map whose keys are strings.
func checkFields(b []byte) error {
	if err := msgp.Check(b); err != nil {
		return err
	}
	if !msgp.IsCanonical(b) {
		return errors.New("not in canonical form")
	}
	n, rest, err := msgp.ReadMapHeader(b)
	if err != nil {
		return err
	}
	for range n {
		if _, rest, err = msgp.ReadString(rest); err != nil {
			return fmt.Errorf("field name: %w", err)
		}
		if rest, err = msgp.Skip(rest); err != nil {
			return err
		}
	}
	return nil
}
