/**
 * The directives, for your schema's SDL: `typeDefs: [lunasecTypeDefs, yours]`.
 *
 * A schema may spell them out itself, but not differently: {@link lunasecDirectives} compares.
 */
export const lunasecTypeDefs = /* GraphQL */ `
"""
The value is tokenized before the resolver runs, which is given the token.
"""
directive @tokenize on ARGUMENT_DEFINITION | INPUT_FIELD_DEFINITION

"""
The token must have been granted to the session of this request; otherwise the resolver does not run.
"""
directive @verify on ARGUMENT_DEFINITION | INPUT_FIELD_DEFINITION

"""
The resolver gives a token; the answer holds its value.
"""
directive @detokenize(
  "What the answer holds while nobody can tell the value; as the client is configured unless given."
  onUnavailable: LunaSecOnUnavailable
) on FIELD_DEFINITION

"""
The resolver gives a token; the session of this request may use it for a time.
"""
directive @grant(
  "For how long, such as 15m; the sidecar's default unless given."
  expiresIn: String
) on FIELD_DEFINITION

"""
What an answer holds while nobody can tell a value.
"""
enum LunaSecOnUnavailable {
  "An error."
  FAIL
  "A masked text."
  MASK
}
`;
