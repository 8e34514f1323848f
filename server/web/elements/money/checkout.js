// A purchase from its request to its end. The provider's page reports to the server; here we watch the purchase.

import { PaymentKey } from "./payment_key.js";

const LOOK_MS = 2500; // between two looks at a pending purchase
const RECENT_MS = 30 * 60_000; // a purchase that is older is not continued

export class Checkout {
  #host;
  #paid;
  #client;
  #key = new PaymentKey();
  #timer;
  #offs = [];
  #left; // the id of a purchase that the user does not wait for any more

  purchase;
  error;
  isOpening = false;

  /** Updates the host, and calls `paid` with each purchase that is paid while it is watched. */
  constructor(host, paid) {
    this.#host = host;
    this.#paid = paid;
  }

  begin(client) {
    this.#client = client;
    const look = () => document.visibilityState === "visible" && this.#lookNow();
    window.addEventListener("focus", look);
    document.addEventListener("visibilitychange", look);
    this.#offs = [
      client.on("wallet:changed", ({ cause }) => cause === "purchase" && this.#lookNow()),
      () => window.removeEventListener("focus", look),
      () => document.removeEventListener("visibilitychange", look),
    ];
    if (this.purchase) this.#lookSoon();
    else this.#resume();
  }

  end() {
    clearTimeout(this.#timer);
    for (const off of this.#offs.splice(0)) off();
  }

  /** Requests a purchase, and opens its checkout in a window. Meanwhile the window shows `text`. */
  async open(packId, text) {
    if (this.isOpening) return;
    this.isOpening = true;
    this.error = undefined;
    const page = openWindow(text); // only a click may open one, so it is opened before the request
    this.#host.requestUpdate();
    try {
      const purchase = await this.#key.use({ packId }, (key) =>
        this.#client.rest.postTokensPurchases({ packId }, { key }),
      );
      this.#watch(purchase);
      if (purchase.checkoutUrl) page?.location.replace(purchase.checkoutUrl);
      else page?.close(); // it is paid, by an earlier request with this key
    } catch (error) {
      this.error = error;
      page?.close();
    }
    this.isOpening = false;
    this.#host.requestUpdate();
  }

  /** Returns to the packs. The purchase stays as it is, and can still be paid in its window. */
  leave() {
    clearTimeout(this.#timer);
    this.#left = this.purchase?.purchaseId;
    this.purchase = this.error = undefined;
    this.#host.requestUpdate();
  }

  async #resume() {
    try {
      const { items } = await this.#client.rest.getTokensPurchases({ status: "pending", limit: 1 });
      const [latest] = items;
      const isRecent = latest?.checkoutUrl && Date.now() - Date.parse(latest.createdAt) < RECENT_MS;
      if (isRecent && !this.purchase && !this.isOpening && latest.purchaseId !== this.#left) this.#watch(latest);
    } catch {
      // The packs are shown all the same; the list of purchases leads back to an open one.
    }
  }

  #watch(purchase) {
    this.purchase = purchase;
    this.#host.requestUpdate();
    if (purchase.status === "pending") this.#lookSoon();
    else if (purchase.status === "paid") this.#paid(purchase);
  }

  #lookSoon() {
    clearTimeout(this.#timer);
    const look = () => (document.visibilityState === "visible" ? this.#lookNow() : this.#lookSoon());
    this.#timer = setTimeout(look, LOOK_MS);
  }

  async #lookNow() {
    const { purchaseId, status } = this.purchase ?? {};
    if (status !== "pending") return;
    clearTimeout(this.#timer);
    try {
      const seen = await this.#client.rest.getTokensPurchasesPurchaseId({ purchaseId });
      this.error = undefined;
      if (this.purchase?.purchaseId === purchaseId && this.purchase.status === "pending") this.#watch(seen);
    } catch (error) {
      this.error = error;
      this.#host.requestUpdate();
      if (this.purchase) this.#lookSoon();
    }
  }
}

/** A window with a text; null if the browser allows none. It cannot reach this page. */
function openWindow(text) {
  const page = window.open("", "_blank");
  if (!page) return null;
  page.opener = null;
  page.document.title = page.document.body.textContent = text;
  return page;
}
