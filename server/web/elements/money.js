// Defines the elements about money.

import "./money/ledger.js";
import "./tickets/ticket_dialog.js";
import "./tips/tip_button.js";
import "./tips/tips_overlay.js";
import "./money/wallet.js";
