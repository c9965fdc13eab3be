package bench

import (
	"context"
	"errors"
)

func (m *members) startInside(ctx context.Context) error {
	return errors.ErrUnsupported
}
