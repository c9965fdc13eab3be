package grid

import (
	"github.com/spacegrid/spacegrid/grid/space"
)

// ReadIn returns the value under a key of a space of structs, inside of a
// transaction, or ErrNotFound.
func ReadIn[T any](tx *Txn, spaceName string, key any) (T, error) {
	var v T
	k, err := Key(key)
	if err != nil {
		return v, err
	}
	c, err := newCodec[T]()
	if err != nil {
		return v, err
	}
	e, err := tx.Read(spaceName, k)
	if err != nil {
		return v, err
	}
	err = c.decode(space.Entry{Value: e.Value, Kind: e.Kind}, &v)
	return v, err
}

// WriteIn writes a value under its key, inside of a transaction.
func WriteIn[T any](tx *Txn, spaceName string, v T) error {
	c, err := newCodec[T]()
	if err != nil {
		return err
	}
	value, err := c.encode(&v)
	if err != nil {
		return err
	}
	lease, err := c.leaseOf(&v)
	if err != nil {
		return err
	}
	return tx.Write(spaceName, Entry{Key: c.keyOf(&v), Value: value, Kind: Fields, Lease: lease})
}
