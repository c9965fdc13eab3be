package sinktest

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spacegrid/spacegrid/grid/space"
)

// Content is what readers can see of a partition: the encoded definition of each
// space, and its encoded entries by key. Equal contents are equal byte for byte.
type Content map[space.ID]*Entries

// Entries is one space of a Content.
type Entries struct {
	Definition string
	ByKey      map[string]string
}

// ContentOf returns the content of an image.
func ContentOf(img *space.Image) Content {
	c := Content{}
	for _, def := range img.Definitions() {
		c.Define(&def)
		img.Scan(def.ID, func(e space.Entry) bool {
			c.Put(def.ID, e)
			return true
		})
	}
	return c
}

// Define adds a space, or alters it.
func (c Content) Define(def *space.Definition) {
	sp := c[def.ID]
	if sp == nil {
		sp = &Entries{ByKey: map[string]string{}}
		c[def.ID] = sp
	}
	sp.Definition = string(space.AppendDefinition(nil, def))
}

// Put adds an entry of a defined space, or replaces it. Whether a claim hides it
// is not content.
func (c Content) Put(id space.ID, e space.Entry) {
	e.Claimed = false
	c[id].ByKey[string(e.Key)] = string(space.AppendEntry(nil, &e))
}

// Fold applies one change, as any sink must understand it.
func (c Content) Fold(x *space.Change) {
	switch x.Op {
	case space.Written, space.Updated, space.Released:
		c.Put(x.Space, space.Entry{
			Key: x.Key, Value: x.Value, Kind: x.Kind, Version: x.Seq, Order: x.Order, Deadline: x.Deadline,
			Attempts: x.Attempts,
		})
	case space.Removed:
		delete(c[x.Space].ByKey, string(x.Key))
	case space.Defined:
		def, err := space.DecodeDefinition(x.Value)
		if err != nil {
			panic(err)
		}
		c.Define(&def)
	case space.Dropped:
		delete(c, x.Space)
	}
}

// Len returns the number of entries.
func (c Content) Len() int {
	n := 0
	for _, sp := range c {
		n += len(sp.ByKey)
	}
	return n
}

// String returns the content in a canonical form, one line for each entry.
func (c Content) String() string {
	var b strings.Builder
	for _, id := range slices.Sorted(maps.Keys(c)) {
		fmt.Fprintf(&b, "space %d %s\n", id, hex.EncodeToString([]byte(c[id].Definition)))
		for _, key := range slices.Sorted(maps.Keys(c[id].ByKey)) {
			fmt.Fprintf(&b, "  %q %s\n", key, hex.EncodeToString([]byte(c[id].ByKey[key])))
		}
	}
	return b.String()
}

func (c Content) clone() Content {
	d := Content{}
	for id, sp := range c {
		d[id] = &Entries{Definition: sp.Definition, ByKey: maps.Clone(sp.ByKey)}
	}
	return d
}
