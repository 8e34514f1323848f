// The user of this tab: a token in sessionStorage, which ends with the tab and is in no address.

const KEY = "halfminute.token";

export const signedInToken = () => sessionStorage.getItem(KEY);
export const signIn = (token) => sessionStorage.setItem(KEY, token);
export const signOut = () => sessionStorage.removeItem(KEY);

/** The users of the demo; null on a server without one, whose page gets its tokens from an identity provider. */
export async function demoUsers() {
  const answer = await fetch("/api/demo/users");
  if (answer.status === 404) return null;
  if (!answer.ok) throw new Error(`${answer.status}`);
  return (await answer.json()).items;
}
