package main

import (
	"context"
	"errors"

	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

// inLab does something inside of private namespaces, in a second run of this
// program, or right here if there can be none: then what needs them is skipped by
// name.
func (a *app) inLab(ctx context.Context, do func(context.Context, lab.Rights) error) error {
	in, status, err := lab.Enter(ctx)
	var rights *lab.RightsError
	switch {
	case errors.As(err, &rights):
		a.notef("no private network and no disks: %v", err)
	case err != nil:
		return err
	case !in && status != exitOK:
		return &quietError{status}
	case !in:
		return nil
	}
	return do(ctx, lab.Possible())
}
