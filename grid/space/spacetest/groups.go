package spacetest

import (
	"reflect"

	"github.com/spacegrid/spacegrid/grid/space"
)

// eligible reports whether a visible entry may be handed out: of the entries with
// the same value of the group field it is the oldest, and none of them is claimed.
func (s *table) eligible(e space.Entry) bool {
	group, ok := s.group(e)
	if !ok {
		return true
	}
	for _, other := range s.entries {
		if g, ok := s.group(other); ok && reflect.DeepEqual(g, group) && (other.Claimed || other.Order < e.Order) {
			return false
		}
	}
	return true
}

func (s *table) group(e space.Entry) (any, bool) {
	if s.def.Group == "" || e.Kind != space.KindFields {
		return nil, false
	}
	v, ok := decode(e.Value).(map[string]any)[s.def.Group]
	return v, ok
}
