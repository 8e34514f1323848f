// The English texts, by name. German has the same names; a test compares them.

export const ENGLISH = {
  tokens: "{count} tokens",
  loading: "Loading …",
  retry: "Try again",
  failed: "That did not work: {reason}",
};
