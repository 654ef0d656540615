package lunasechttp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// plan is what is to be done with an answer: all grants before anything is revealed, however routes are nested.
type plan struct {
	grants, reveals []work
	maxBytes        int64
}

type work func(ctx context.Context, here *Here, data *any) error

// planned has the outermost of an answer's routes do the work of all.
func planned(next http.Handler, add func(*plan)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		here, ok := hereOf(w, r)
		if !ok {
			return
		}
		if here.planned != nil {
			add(here.planned)
			next.ServeHTTP(w, r)
			return
		}
		plan := &plan{maxBytes: bodyBytes}
		add(plan)
		here.planned = plan
		held := &held{ResponseWriter: w, plan: plan}
		next.ServeHTTP(held, r)
		here.planned = nil
		held.finish(r, here)
	})
}

// held is an answer that waits until its handler is done, if it is JSON that is no error; any other goes out as it is. It is
// no Flusher: what has gone out cannot be changed any more.
type held struct {
	http.ResponseWriter
	plan    *plan
	status  int
	passing bool
	body    bytes.Buffer
	tooMuch bool
}

func (h *held) WriteHeader(status int) {
	if h.status != 0 || status < 200 {
		if h.passing || status < 200 {
			h.ResponseWriter.WriteHeader(status)
		}
		return
	}
	h.status = status
	h.passing = status >= 400 || status == 204 || status == 304 || !isJSON(h.Header().Get("Content-Type"))
	if h.passing {
		h.ResponseWriter.WriteHeader(status)
	}
}

// isJSON is also what does not say what it is: it is looked at when it is there.
func isJSON(contentType string) bool {
	if contentType == "" {
		return true
	}
	kind, _, err := mime.ParseMediaType(contentType)
	return err == nil && (kind == "application/json" || strings.HasSuffix(kind, "+json"))
}

func (h *held) Write(bytes []byte) (int, error) {
	if h.status == 0 {
		h.WriteHeader(http.StatusOK)
	}
	if h.passing {
		return h.ResponseWriter.Write(bytes)
	}
	if int64(h.body.Len()+len(bytes)) > h.plan.maxBytes {
		h.tooMuch = true
		return 0, fmt.Errorf("lunasechttp: the answer is larger than %d bytes: answer less at once, or raise MaxBytes", h.plan.maxBytes)
	}
	return h.body.Write(bytes)
}

func (h *held) finish(r *http.Request, here *Here) {
	if h.passing {
		return
	}
	if h.status == 0 {
		h.ResponseWriter.WriteHeader(http.StatusOK)
		return
	}
	if h.tooMuch {
		fail(h.ResponseWriter, r, here, errors.New("lunasechttp: the answer is larger than MaxBytes"))
		return
	}
	text, err := h.changed(r.Context(), here)
	if err != nil {
		fail(h.ResponseWriter, r, here, err)
		return
	}
	header := h.Header()
	header.Set("Content-Length", strconv.Itoa(len(text)))
	if noted := here.Noted(); len(noted.Reasons) > 0 {
		header.Set("Lunasec-Degraded", strings.Join(noted.Reasons, ","))
	}
	h.ResponseWriter.WriteHeader(h.status)
	// Whoever is gone does not read it.
	_, _ = h.ResponseWriter.Write(text)
}

// forgetBody takes away what a handler said of the body that it wrote, in whose place another one goes out. Who has one that
// was revealed or granted before is not to show it again because that body is still the same.
func forgetBody(header http.Header) {
	for _, name := range [...]string{"Etag", "Last-Modified", "Accept-Ranges", "Content-Md5", "Digest", "Content-Digest", "Repr-Digest"} {
		header.Del(name)
	}
}

// changed is the answer as it goes out.
func (h *held) changed(ctx context.Context, here *Here) ([]byte, error) {
	said := h.Header().Get("Content-Type")
	data, err := decode(h.body.Bytes())
	if err != nil && said == "" {
		return h.body.Bytes(), nil
	}
	if err != nil {
		return nil, errors.New("lunasechttp: the answer says that it is JSON, and is not, or holds what is no text")
	}
	if h.Header().Get("Content-Encoding") != "" {
		return nil, errors.New("lunasechttp: the answer is compressed: compress it outside of Grant and Reveal")
	}
	for _, work := range append(h.plan.grants, h.plan.reveals...) {
		if err := work(ctx, here, &data); err != nil {
			return nil, err
		}
	}
	if said == "" {
		h.Header().Set("Content-Type", "application/json")
	}
	forgetBody(h.Header())
	if len(h.plan.reveals) > 0 && h.Header().Get("Cache-Control") == "" {
		h.Header().Set("Cache-Control", "no-store")
	}
	return encode(data)
}
