package cluster

// spaceView is a space as Inspect("spaces") shows it.
type spaceView struct {
	Name    string `json:"name"`
	Entries int    `json:"entries"` // on this member, all replicas
}

// spaceViews counts the entries of every space on this member. The counts of
// partitions are not of one moment.
func (n *Node) spaceViews() []spaceView {
	views := []spaceView{}
	s := n.control.State()
	for i := range s.Spaces {
		v := spaceView{Name: s.Spaces[i].Name}
		for j := range n.groups {
			h := n.groups[j].Load()
			if h == nil {
				continue
			}
			for _, p := range h.host.all() {
				v.Entries += p.Count(s.Spaces[i].ID)
			}
		}
		views = append(views, v)
	}
	return views
}
