package demo

import (
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/patchbay/patchbay/client"
)

// Story makes the events that the demo plays, the same ones for the same seed: for an installation that looks lived in.
type Story struct {
	world   *world
	scenes  []scene
	example func(eventType string) json.RawMessage
}

// NewStory begins a story. now is the clock of the events, example returns the catalog's example of a type.
func NewStory(seed uint64, now func() time.Time, example func(eventType string) json.RawMessage) *Story {
	return &Story{worldOf(seed, now), script(), example}
}

func worldOf(seed uint64, now func() time.Time) *world {
	return &world{random: rand.New(rand.NewPCG(seed, 1)), now: now, run: 400, pull: 30}
}

// Next makes the next event.
func (s *Story) Next() (*client.NewEvent, error) {
	scene := s.world.next(s.scenes)
	at, payload, err := s.world.play(scene, s.example(scene.eventType))
	if err != nil {
		return nil, err
	}
	e := &client.NewEvent{Type: scene.eventType, Scope: &at.scope, Also: at.also, Payload: payload}
	if at.actor != "" {
		e.Actor = []byte(`{"name":` + strconv.Quote(at.actor) + `}`)
	}
	return e, nil
}
