// The German texts, by name.

export const GERMAN = {
  tokens: "{count} Token",
  loading: "Wird geladen …",
  retry: "Noch einmal versuchen",
  failed: "Das hat nicht geklappt: {reason}",
};
