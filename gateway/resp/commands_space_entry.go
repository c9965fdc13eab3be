package resp

import (
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// shown is an entry ready to be written.
type shown struct {
	entry grid.Entry
	lease int64  // milliseconds, -1
	json  []byte // nil for bytes
	claim *grid.Claim
}

// entries writes one entry, or an array of them.
func (d *dialog) entries(found []grid.Entry, array bool) {
	all := make([]shown, len(found))
	for i, e := range found {
		all[i].entry = e
	}
	d.show(all, array)
}

func (d *dialog) show(all []shown, array bool) {
	for i := range all {
		e := &all[i].entry
		all[i].lease = -1
		if e.Deadline != space.Never {
			left, err := d.left(&space.Entry{Key: e.Key, Deadline: e.Deadline})
			if err != nil {
				d.fail(err)
				return
			}
			all[i].lease = int64(left / time.Millisecond)
		}
		if e.Kind == grid.Fields {
			text, err := msgp.AppendJSON([]byte{}, e.Value)
			if err != nil {
				d.fail(err)
				return
			}
			all[i].json = text
		}
	}
	if array {
		d.out.Array(len(all))
	}
	for _, x := range all {
		pairs := 4
		if x.claim != nil {
			pairs = 7
		}
		d.out.Map(pairs)
		d.out.BulkString("key")
		d.out.Bulk(x.entry.Key)
		d.out.BulkString("version")
		d.out.Int(int64(x.entry.Version))
		d.out.BulkString("lease")
		d.out.Int(x.lease)
		if x.json != nil {
			d.out.BulkString("json")
			d.out.Bulk(x.json)
		} else {
			d.out.BulkString("value")
			d.out.Bulk(x.entry.Value)
		}
		if x.claim != nil {
			d.pair("token", x.claim.Token.String())
			d.out.BulkString("attempts")
			d.out.Int(int64(x.claim.Attempts))
			d.out.BulkString("claim")
			d.out.Int(int64(x.claim.Lease / time.Millisecond))
		}
	}
}
