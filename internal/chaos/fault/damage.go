package fault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"

	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

// damage changes bytes in a file of a member, as disks do: behind its back.
type damage struct {
	how  how
	kind string // of file; "" any that there is
	live bool   // while the member runs; otherwise it was killed before
}

// how says what is done to the file.
type how string

const (
	flip   how = "flip"   // one bit
	tail   how = "tail"   // the last bytes are gone, a few
	middle how = "middle" // the file ends somewhere in the middle
	zero   how = "zero"   // a page that was something is nothing
)

var hows = []how{flip, tail, middle, zero}

const (
	pageBytes = 4 << 10
	// tailBytes is the most that is cut off a tail: about one record.
	tailBytes = 512
)

// damages are those of any kind of file.
func damages() []Fault {
	var all []Fault
	for _, live := range []bool{false, true} {
		for _, h := range hows {
			all = append(all, damage{how: h, live: live})
		}
	}
	return all
}

// ErrNoFile is why a kind of file cannot be damaged: the member has none at the moment.
var ErrNoFile = errors.New("fault: there is no such file now")

// Damages returns every way to damage every kind of file, of a member that was
// killed and of one that runs, for those who want to try all of them. A kind of
// which the member has no file at the moment makes Strike fail with ErrNoFile.
func Damages() []Fault {
	var all []Fault
	for _, live := range []bool{false, true} {
		for _, h := range hows {
			for _, k := range kinds {
				all = append(all, damage{how: h, kind: k.name, live: live})
			}
		}
	}
	return all
}

// Name implements Fault.
func (d damage) Name() string {
	name := "bytes-" + string(d.how)
	if d.live {
		name = "live-" + name
	}
	if d.kind != "" {
		name += "-" + d.kind
	}
	return name
}

// Missing implements Fault: it can be done anywhere.
func (damage) Missing(lab.Rights) string { return "" }

// Strike implements Fault. A member that was killed is started again with the damage.
// When it is healed, the member gets an empty disk and has the rest from the others.
func (d damage) Strike(ctx context.Context, l *lab.Lab, r *rand.Rand) (Injury, error) {
	return strike(ctx, func(j *injury) error {
		m, err := holdCopy(ctx, j, l, r)
		if err != nil {
			return err
		}
		// Whatever the member makes of it: damage that nobody has noticed must not be
		// there any more when another copy is damaged.
		j.later(func(context.Context) error { return replace(m) })
		if d.live {
			// It is read at the latest when the member starts.
			j.later(func(ctx context.Context) error {
				m.Kill()
				return j.try(ctx, m)
			})
		} else {
			if err := killed(d.Name(), l, []*lab.Member{m}, func() {}); err != nil {
				return err
			}
		}
		says, err := d.injure(m, r)
		if err != nil {
			return err
		}
		j.sayf("%s of %s", says, m.Name())
		if d.live {
			return nil
		}
		return j.try(ctx, m)
	})
}

// injure damages a file of a member and makes sure that it is another one now.
func (d damage) injure(m *lab.Member, r *rand.Rand) (says string, err error) {
	files, err := Files(m)
	if err != nil {
		return "", err
	}
	kind := d.kind
	if kind == "" {
		var there []string
		for _, k := range Kinds() {
			if len(files[k]) > 0 {
				there = append(there, k)
			}
		}
		if len(there) == 0 {
			return "", fmt.Errorf("fault: member %s has no files", m.Name())
		}
		kind = there[r.IntN(len(there))]
	}
	paths := files[kind]
	if len(paths) == 0 {
		return "", fmt.Errorf("%w: of kind %s on member %s", ErrNoFile, kind, m.Name())
	}
	path := paths[r.IntN(len(paths))]
	before, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	what, err := d.how.apply(path, before, r)
	if err != nil {
		return "", err
	}
	after, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if bytes.Equal(before, after) {
		return "", unverified(d.Name(), "%s is what it was", path)
	}
	return fmt.Sprintf("%s in %s, a %s file of %d bytes,", what, path, kind, len(before)), nil
}

// apply damages a file whose content is known. The file is written to in place: who
// has it open has the damage.
func (h how) apply(path string, content []byte, r *rand.Rand) (says string, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size := len(content)
	switch h {
	case flip:
		at, bit := r.IntN(size), r.IntN(8)
		_, err = f.WriteAt([]byte{content[at] ^ 1<<bit}, int64(at))
		return fmt.Sprintf("bit %d of byte %d flipped", bit, at), err
	case tail:
		n := 1 + r.IntN(min(size, tailBytes))
		return fmt.Sprintf("the last %d bytes cut off", n), f.Truncate(int64(size - n))
	case middle:
		at := r.IntN(size)
		return fmt.Sprintf("all from byte %d cut off", at), f.Truncate(int64(at))
	case zero:
		page := somePage(content, r)
		end := min(size, (page+1)*pageBytes)
		_, err = f.WriteAt(make([]byte, end-page*pageBytes), int64(page*pageBytes))
		return fmt.Sprintf("bytes %d to %d zeroed", page*pageBytes, end), err
	}
	panic("fault: no such damage: " + string(h))
}

// somePage draws a page that is not all zeros, the first one if all are.
func somePage(content []byte, r *rand.Rand) int {
	var pages []int
	page := 0
	for chunk := range slices.Chunk(content, pageBytes) {
		if bytes.ContainsFunc(chunk, func(c rune) bool { return c != 0 }) {
			pages = append(pages, page)
		}
		page++
	}
	if len(pages) == 0 {
		return 0
	}
	return pages[r.IntN(len(pages))]
}
