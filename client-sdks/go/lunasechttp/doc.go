// Package lunasechttp puts tokens where values were in net/http applications, route by route: fields of JSON requests are
// tokenized or verified before a handler sees them, fields of JSON answers are granted or revealed after it has written
// them, and everything of one request goes out under its session.
//
//	protect := lunasechttp.Bind(client, func(r *http.Request) (lunasechttp.Who, error) {
//		return lunasechttp.Who{Session: sessionOf(r)}, nil
//	})
//	mux.Handle("POST /customers", lunasechttp.Tokenize(lunasechttp.Fields{"name", "cards[].number"})(create))
//	mux.Handle("GET /customers", lunasechttp.Reveal(lunasechttp.Fields{"[].name"}, lunasechttp.Masked())(list))
//	http.ListenAndServe("127.0.0.1:8080", protect(mux))
//
// What goes wrong is answered as application/problem+json, in words that hold no token, no value and nothing of the inside.
package lunasechttp
