// The call of this tab, so that a reload returns to it: its id in sessionStorage, which ends with the tab.

const KEY = "halfminute.call";

export const keptCallId = () => sessionStorage.getItem(KEY);
export const keepCall = (callId) => sessionStorage.setItem(KEY, callId);
export const forgetCall = () => sessionStorage.removeItem(KEY);
