package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/client"
)

// mixHanging is how many links that never answer get every event of the mix.
const mixHanging = 4

// measureMix measures a healthy link alone, and then one whose events also go to partners that fail now and then, are
// slow, or never answer. What fails is tried again: all of it must arrive.
func (b *bench) measureMix(ctx context.Context) error {
	t, _, secret, _, err := b.installation(ctx, 1)
	if err != nil {
		return err
	}
	defer t.part.kill() // a stop in order would wait for what hangs
	alone, err := b.healthy(ctx, t, secret)
	if err != nil {
		return err
	}
	var hanging []string
	if err := b.sink.call(ctx, "/hang", url.Values{"count": {strconv.Itoa(mixHanging)}}, &hanging); err != nil {
		return err
	}
	addresses := []string{b.sink.way(failWay, 1), b.sink.way(slowWay, 2)}
	for _, address := range hanging {
		addresses = append(addresses, "http://"+address+"/")
	}
	if err := b.addLinks(ctx, t.api, addresses...); err != nil {
		return err
	}
	for range b.o.Runs {
		r, err := b.openPhase(ctx, t, 3, b.size.hanging, secret) // healthy, failing and slow; what hangs sees nothing arrive
		if err != nil {
			return err
		}
		p99 := r.P99.Seconds() * 1e3
		b.rows["mix"].add(p99 / median(alone))
		b.rows["mix"].Note = fmt.Sprintf("%.1f ms beside, %.1f ms alone; %d arrived at the three that answer, %d twice",
			p99, median(alone), r.Distinct, r.Duplicates)
		b.o.Progress("mix: p99 %.1f ms beside, %.1f ms alone; p99.9 %s", p99, median(alone), r.P999)
	}
	return nil
}

// addLinks makes further links that every measured event goes over.
func (b *bench) addLinks(ctx context.Context, api *client.Client, addresses ...string) error {
	key, scope := "webhook", benchScope
	for i, address := range addresses {
		name := fmt.Sprintf("bench also %d", i)
		settings, err := json.Marshal(map[string]string{"url": address})
		if err != nil {
			return err
		}
		in := &client.LinkInput{Integration: &key, Name: &name, Scope: &scope, Events: []patchbay.Pattern{eventType}, Settings: settings}
		if _, err := api.CreateLink(ctx, in); err != nil {
			return err
		}
	}
	return nil
}
