package bus

import (
	"context"
	"encoding/json"
	"fmt"
)

// Clear takes all keys away that match a pattern of NATS subjects ("a.*"). It
// leaves nothing behind, unlike Delete, which leaves a marker of each key for
// ever; so a Watch is not told.
func (k *KV) Clear(ctx context.Context, pattern string) error {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	request, err := json.Marshal(map[string]string{"filter": "$KV." + string(k.bucket) + "." + pattern})
	if err != nil {
		return err
	}
	var answer apiAnswer
	err = k.b.api(ctx, "STREAM.PURGE.KV_"+string(k.bucket), request, &answer)
	if err == nil {
		err = answer.error()
	}
	if err != nil {
		return fmt.Errorf("clearing %s/%s: %w", k.bucket, pattern, err)
	}
	return nil
}
