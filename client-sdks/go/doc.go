// Package lunasec is LunaSec tokenization from Go, through the sidecar's Unix socket: an application keeps tokens where it
// used to keep card numbers, addresses or scans of IDs.
//
//	client, err := lunasec.New()
//	tokenized, err := client.Tokenize(ctx, lunasec.Text("4111 1111 1111 1111"))
//	row := tokenized.Token.Expose() // what a database keeps
//	value, err := client.Detokenize(ctx, lunasec.TokenOf(row))
//	number, err := value.Reveal() // what is charged
//
// Make one [Client] for each process. [Client.ForSession] speaks for one session of one end user; [Client.Masked] and
// [Fallback] show something else while nobody can answer. Tokens and values print redacted wherever something prints by
// itself. Errors are [*Error], and of kinds such as [ErrUnavailable] for [errors.Is].
package lunasec
