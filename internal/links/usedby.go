package links

import "github.com/patchbay/patchbay"

// Using is a link that uses a connection.
type Using struct {
	Link  patchbay.LinkID
	Scope patchbay.Scope
	// Name is what its owner calls it, or else its short name.
	Name string
}

// UsedBy returns the links that use a connection, disabled ones and those that are being taken down included.
func (s *Service) UsedBy(con patchbay.ConnectionID) []Using {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]Using, 0, len(s.using[con]))
	for id := range s.using[con] {
		l := s.stored[id]
		name := l.Name
		if name == "" {
			name, _ = s.summary(l, s.links[id])
		}
		out = append(out, Using{Link: id, Scope: l.Scope, Name: name})
	}
	return out
}
